"""An embedded environment as the ground of truth: its hosts are directories, and each of them has a supervisord."""

from __future__ import annotations

import json

from ansible_collections.baton.release.plugins.module_utils.slots import MIXED, OUT, SLOTS

from tests.chaos.ground import Place, Routing, Unit
from tests.e2e.environment import APP_HOSTS, Environment

__all__ = ["Directories"]


class Directories:
    """The directories of one environment."""

    apps: tuple[str, ...] = APP_HOSTS
    balancers: tuple[str, ...] = ("lb1",)
    paths: tuple[str, ...] = ("/", "/products")

    def __init__(self, shop: Environment) -> None:
        """Take the environment, which need not run yet."""
        self._shop = shop

    @property
    def database(self) -> str:
        """The URL of the app's database."""
        return str(json.loads((self._shop.root / "secrets.json").read_text())["DATABASE_URL"])

    def url(self, balancer: str) -> str:
        """Return where users reach the load balancer."""
        return f"http://127.0.0.1:{self._ports(balancer)['public']}"

    def address(self, host: str, slot: str) -> str:
        """Return the URL at which a slot answers itself."""
        return f"http://127.0.0.1:{self._ports(host)[slot]}"

    def routing(self, balancer: str) -> Routing:
        """Return what is in the files that Caddy looks up at every request, after a restart too."""
        word = self.text(balancer, "state", "live") or "none"
        seats = ((host, self._seat(balancer, host)) for host in (self.apps if word == MIXED else ()))
        return Routing(word, begins=word, seats=tuple(seats))

    def units(self, host: str) -> dict[str, Unit]:
        """Return for each slot whether supervisord runs it; what it runs it starts again when it starts itself."""
        running = {one["name"] for one in self._shop.programs(host) if one["statename"] == "RUNNING"}
        return {slot: Unit(runs := f"shop-{slot}" in running, returns=runs) for slot in SLOTS}

    def text(self, host: str, place: Place, path: str) -> str:
        """Return what a file on a host holds; nothing where there is none."""
        directory = self._shop.host(host) / "shop" if place == "app" else self._shop.state(host)
        file = directory / path
        return file.read_text() if file.exists() else ""

    def _seat(self, balancer: str, host: str) -> str:
        seat = self.text(balancer, "state", f"seats/{host}")
        return next((slot for slot in SLOTS if seat.endswith(f":{self._ports(host)[slot]}")), OUT)

    def _ports(self, host: str) -> dict[str, int]:
        ports: dict[str, int] = json.loads((self._shop.root / "ports.json").read_text())[host]
        return ports
