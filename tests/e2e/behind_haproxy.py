"""The embedded environment behind an HAProxy, for what Caddy cannot do: single servers that are held in maintenance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.balancers.running_haproxy import RunningHAProxy
from tests.e2e.environment import APP_HOSTS, Environment

__all__ = ["BehindHAProxy", "behind_haproxy"]


class BehindHAProxy(RunningHAProxy):
    """An HAProxy at the ports of the environment's Caddy, with the environment's app hosts behind it."""

    hosts = APP_HOSTS

    def __init__(self, command: str, shop: Environment) -> None:  # its servers run already
        """Write the configuration."""
        self.directory, self.state = shop.root / "haproxy", shop.state("lb1")
        self.directory.mkdir(exist_ok=True)
        self.state.mkdir(parents=True, exist_ok=True)
        self.backends, self._process, self.command = {}, None, command
        self._ports: dict[str, dict[str, int]] = json.loads((shop.root / "ports.json").read_text())
        own = self._ports["lb1"]
        names = ("public", "preview_blue", "preview_green", "admin")
        self.public, self.blue, self.green, self.admin = (f"127.0.0.1:{own[name]}" for name in names)
        self.url = f"http://{self.public}"
        self.master, self.stats = shop.root / "m.sock", shop.root / "s.sock"
        self.configure()

    @property
    def servers(self) -> dict[str, dict[str, str]]:
        """The addresses of the slots."""
        return {
            host: {slot: f"127.0.0.1:{self._ports[host][slot]}" for slot in ("blue", "green")} for host in self.hosts
        }

    @property
    def settings(self) -> dict[str, Any]:
        """What playbooks have to know of it. Nothing is watched: that has tests of its own, and takes its time."""
        return {"traffic_driver": "haproxy", "traffic_admin": str(self.master), "watch_seconds": 0}


@contextmanager
def behind_haproxy(command: str, shop: Environment) -> Iterator[BehindHAProxy]:
    """Put an HAProxy in the place of Caddy, which serves the slot that is live, and Caddy back in the end."""
    live = shop.live()
    (shop.state("lb1") / "haproxy.map").write_text(f"shop {live}\n")
    haproxy = BehindHAProxy(command, shop)
    shop.supervisorctl("lb1", "stop", "caddy")
    try:
        haproxy.start()
        haproxy.eventually(lambda: len(haproxy.observe()["pools"][live]["up"]) == len(APP_HOSTS))
        yield haproxy
    finally:
        live = haproxy.observe()["live"]
        haproxy.close()
        (shop.state("lb1") / "live").write_text(live)
        for path in (Path("haproxy.map"), *(Path(f"haproxy.{slot}") for slot in ("blue", "green", "servers"))):
            (shop.state("lb1") / path).unlink(missing_ok=True)
        shop.supervisorctl("lb1", "start", "caddy")
