"""How many servers really serve, sampled from outside while a playbook runs."""

from __future__ import annotations

import http.client
import json
import threading
from types import TracebackType

from tests.e2e.environment import APP_HOSTS, Environment

__all__ = ["Capacity"]

SAMPLE_SECONDS = 0.1


class Capacity:
    """Ten times a second: which servers the load balancer sends requests to, and how many of them answer as ready."""

    def __init__(self, shop: Environment) -> None:
        """Sample the environment ``shop``; to be used as a context manager."""
        self.shop = shop
        self.samples: list[int] = []
        self._ports = json.loads((shop.root / "ports.json").read_text())
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> Capacity:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._over.set()
        self._thread.join()

    @property
    def lowest(self) -> int:
        """The fewest servers that served at any time."""
        return min(self.samples)

    def in_rotation(self) -> set[int]:
        """Return the ports of the servers that get requests, from the files that the load balancer reads."""
        live = self.shop.live()
        if live == "mixed":
            seats = [(self.shop.state("lb1") / "seats" / host).read_text() for host in APP_HOSTS]
            return {int(address.rpartition(":")[2]) for address in seats}
        return {self._ports[host][live] for host in APP_HOSTS}

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            before = self.in_rotation()
            ready = sum(self._ready(port) for port in before)
            if self.in_rotation() == before:  # else the sample mixes two moments
                self.samples.append(ready)

    @staticmethod
    def _ready(port: int) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.client.OK
        except OSError:
            return False
        finally:
            connection.close()
