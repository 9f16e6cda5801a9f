"""How many servers a HAProxy of the fleet sends requests to, by its own statistics, ten times a second while a playbook runs."""

from __future__ import annotations

import subprocess
from types import TracebackType

from tests.fleet.haproxy_program import ASK, MAP
from tests.fleet.hosts import Fleet

__all__ = ["Capacity"]

ENDING = 10.0  # seconds
# Runs on the load balancer. The word in its map names the backend that serves; a sample during which it changes mixes two moments.
SAMPLER = f"""{ASK}
import csv, time

def backend():
    words = dict(line.split()[1:3] for line in ask("show map {MAP}").splitlines() if line.strip())
    return "shop_" + words["shop"]

while True:
    began, serving = time.monotonic(), backend()
    rows = csv.DictReader(ask("show stat").lstrip("# ").splitlines())
    up = [row["svname"] for row in rows if row["pxname"] == serving and row["type"] == "2" and row["status"].startswith("UP")]
    if backend() == serving:
        print(serving, len(up), flush=True)
    time.sleep(max(0, began + 0.1 - time.monotonic()))
"""


class Capacity:
    """Samples of one load balancer; to be used as a context manager."""

    def __init__(self, fleet: Fleet, balancer: str) -> None:
        """Sample the load balancer ``balancer``."""
        self._command = fleet.ssh_command(balancer, "sudo python3 -u -")
        self.samples: list[tuple[str, int]] = []
        """The backend that served, and how many of its servers were up."""

    def __enter__(self) -> Capacity:
        """Begin."""
        self._sampling = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._sampling.stdin
        self._sampling.stdin.write(SAMPLER)
        self._sampling.stdin.close()
        self._sampling.stdin = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._sampling.terminate()
        printed, _ = self._sampling.communicate(timeout=ENDING)
        self.samples = [(name, int(up)) for name, up in map(str.split, printed.splitlines()[:-1])]

    @property
    def lowest(self) -> int:
        """The fewest servers that were up in what served, at any time."""
        return min(up for _, up in self.samples)

    @property
    def backends(self) -> set[str]:
        """What served at any time."""
        return {name for name, _ in self.samples}
