# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A Caddy with the configuration of the role, its servers, and what a test does to them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import typing
from pathlib import Path

import jinja2
from ansible_collections.baton.release.plugins.module_utils.balancer_caddy import Caddy
from ansible_collections.baton.release.plugins.module_utils.switch import Wanted, observe, switch

from tests.balancers.backends import Backend
from tests.balancers.running_haproxy import HOSTS, SLOTS, free_ports

__all__ = ["RunningCaddy"]

TEMPLATE = Path(__file__).resolve().parents[2] / "roles/caddy/templates/caddy.json.j2"
PATIENCE_SECONDS = 20.0


class RunningCaddy:
    """One Caddy with its files in ``directory``."""

    def __init__(self, directory: Path) -> None:
        """Write the configuration; nothing runs yet but the servers."""
        self.directory = directory
        self.state = directory / "state"
        (self.state / "seats").mkdir(parents=True)
        self.backends = {(host, slot): Backend(host, slot) for host in HOSTS for slot in SLOTS}
        self.public, self.blue, self.green, self.admin = (f"127.0.0.1:{port}" for port in free_ports(4))
        self.url = f"http://{self.public}"
        self._process: subprocess.Popen[bytes] | None = None
        for host in HOSTS:
            (self.state / "seats" / host).write_text(self.backends[host, "blue"].address)
        self.configure()

    def configure(self, **changes: typing.Any) -> None:
        """Write the configuration as the role does, with some of its variables changed."""
        variables: dict[str, typing.Any] = {
            "caddy_app_name": "shop",
            "caddy_listen": self.public,
            "caddy_preview": {"blue": self.blue, "green": self.green},
            "caddy_admin": self.admin,
            "caddy_live_file": str(self.state / "live"),
            "caddy_seats_dir": str(self.state / "seats"),
            "caddy_access_log": str(self.directory / "access.log"),
            "caddy_share_cookie": "baton_share",
            "caddy_health_path": "/health/ready",
            "caddy_app_group": "app",
            "groups": {"app": HOSTS},
            "caddy_servers": {host: {slot: self.backends[host, slot].address for slot in SLOTS} for host in HOSTS},
        }
        # A file, no page: nothing is to be escaped.
        environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)  # noqa: S701 - as said above
        environment.filters["to_json"] = json.dumps
        text = environment.from_string(TEMPLATE.read_text()).render({**variables, **changes})
        (self.directory / "caddy.json").write_text(text)

    def start(self) -> None:
        """Start, and wait until it answers."""
        program = shutil.which("caddy", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
        assert program is not None, "requirements.txt installs Caddy"
        own = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(self.directory))
        command = [program, "run", "--config", str(self.directory / "caddy.json")]
        with (self.directory / "caddy.log").open("ab") as log:
            self._process = subprocess.Popen(command, env={**os.environ, **own}, stdout=log, stderr=log)
        self.eventually(self._up)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it, by default in good order."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def close(self) -> None:
        """End everything."""
        self.stop(signal.SIGKILL)
        for backend in self.backends.values():
            backend.close()

    def balancer(self) -> Caddy:
        """Return the driver."""
        preview = {"blue": f"http://{self.blue}", "green": f"http://{self.green}"}
        return Caddy(f"http://{self.admin}", "shop", preview, "/health/ready", self.state)

    def switch(self, slot: str, expected: str | None = None, **more: typing.Any) -> dict[str, typing.Any]:
        """Switch."""
        wanted = Wanted(slot, expected, **{"min_up": 2, **more})
        return switch(self.balancer(), wanted, state_dir=self.state, token=None)

    def observe(self) -> dict[str, typing.Any]:
        """Return what is live, and the pools."""
        return observe(self.balancer(), self.state)

    def _up(self) -> bool:
        pools = self.balancer().pools() or {}
        return bool(pools) and all(len(pool["up"]) == len(HOSTS) for pool in pools.values())

    def eventually(self, condition: typing.Callable[[], bool]) -> None:
        """Wait for something."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            said = (self.directory / "caddy.log").read_text()[-2000:]
            assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s; Caddy said {said}"
            time.sleep(0.05)
