"""A load balancer of the tests with the cheap app behind it, and a storm of clients before it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import typing
from pathlib import Path

from tests.balancers.backends import Backend
from tests.balancers.running_caddy import RunningCaddy
from tests.balancers.running_haproxy import RunningHAProxy
from tests.balancers.running_nginx import RunningNginx
from tests.bench.storm import FRESH, KEPT, Asked, read
from tests.e2e.environment import ROOT

__all__ = ["SCENES", "App", "Programs", "Reloadable", "Storm", "may_hold"]

BACKLOG = 1024
MIN_TIMEOUT = (1, 27, 4)
"""The nginx that knows ``keepalive_min_timeout``."""


class Reloadable(typing.Protocol):
    """What the benchmark does to each of them; the rest is of ``Running``."""

    public: str
    backends: dict[tuple[str, str], Backend]

    def start(self) -> None:
        """Start."""

    def await_up(self) -> None:
        """Wait until all servers are up."""

    def switch(self, slot: str, expected: str | None = None, **more: typing.Any) -> dict[str, typing.Any]:
        """Switch, by the driver."""

    def reload(self) -> None:
        """Have the configuration read again, and wait until that is done."""

    def close(self) -> None:
        """End everything."""


class _Socket(Backend):
    """A socket that the cheap app answers at."""

    def __init__(self, host: str, slot: str) -> None:
        self.host, self.slot = host, slot
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"

    def close(self) -> None:
        self.listener.close()


class _HAProxy(RunningHAProxy):
    def serve(self, host: str, slot: str) -> Backend:
        return _Socket(host, slot)


class _Nginx(RunningNginx):
    def serve(self, host: str, slot: str) -> Backend:
        return _Socket(host, slot)


def may_hold() -> bool:
    """Return whether nobody can be let connect while Caddy loads its configuration."""
    return os.geteuid() == 0 and shutil.which("nft") is not None


class _Caddy(RunningCaddy):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        (self.state / "door").write_text(
            "open"
        )  # as lb_switch does; Caddy complains at each request of one that is missing

    def reload(self) -> None:
        if may_hold():
            self.reload_as_root()
        else:
            super().reload()

    def serve(self, host: str, slot: str) -> Backend:
        return _Socket(host, slot)


class Programs(typing.NamedTuple):
    """The paths of the load balancers' programs; Caddy's is that of the virtual environment in any case."""

    haproxy: str
    nginx: str
    caddy: str


def _nginx(programs: Programs, directory: Path) -> Reloadable:
    running = _Nginx(programs.nginx, directory)
    said = subprocess.run([programs.nginx, "-v"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", said)
    if found and tuple(map(int, found.groups())) >= MIN_TIMEOUT:
        running.configure(nginx_keepalive_min_timeout="5")
    return running


def _nginx_without_keepalive(programs: Programs, directory: Path) -> Reloadable:
    running = _Nginx(programs.nginx, directory)
    running.configure(nginx_keepalive_timeout=0)
    return running


SCENES: dict[str, typing.Callable[[Programs, Path], Reloadable]] = {
    "haproxy": lambda programs, directory: _HAProxy(programs.haproxy, directory),
    "nginx": _nginx,
    "nginx, nginx_keepalive_timeout 0": _nginx_without_keepalive,
    "caddy": lambda _programs, directory: _Caddy(directory),
}


class App:
    """The cheap app at all of the sockets, in one process."""

    def __init__(self, running: Reloadable) -> None:
        """Start it; until it answers, requests wait in the sockets."""
        sockets = [one for one in running.backends.values() if isinstance(one, _Socket)]
        served = [f"{one.listener.fileno()}:{one.slot}:{one.host}" for one in sockets]
        command = [sys.executable, "-m", "tests.bench.storm_app", *served]
        self._process = subprocess.Popen(command, cwd=ROOT, pass_fds=[one.listener.fileno() for one in sockets])

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


class Storm:
    """Clients in several processes, half of the requests over connections that are kept, half over fresh ones."""

    def __init__(self, address: str, ledgers: Path, *, rate: float, processes: int) -> None:
        """Have ``rate`` requests a second, from so many processes of each kind; nothing is asked yet."""
        self.address, self.ledgers = address, ledgers
        self.rate = rate / (2 * processes)
        self.kinds = [(kind, number) for kind in (KEPT, FRESH) for number in range(processes)]
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Begin."""
        for kind, number in self.kinds:
            options = ["--kind", kind, "--rate", str(self.rate), "--ledger", str(self._ledger(kind, number))]
            command = [sys.executable, "-m", "tests.bench.storm", self.address, *options]
            self._processes.append(subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE))

    def stop(self) -> list[Asked]:
        """End it; return all requests.

        Raises:
            RuntimeError: a process of it has died, so nobody knows what it asked.
        """
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        codes = [process.wait(60) for process in self._processes]
        if any(codes):
            raise RuntimeError(f"clients have ended with {codes}")
        return read(self._ledger(kind, number) for kind, number in self.kinds)

    def kill(self) -> None:
        """End what is left of it."""
        for process in self._processes:
            process.kill()
            process.wait()

    def _ledger(self, kind: str, number: int) -> Path:
        return self.ledgers / f"{kind}-{number}.txt"
