# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A Caddy with the configuration of the role."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.balancer_caddy import Caddy

from tests.balancers.running import PAGE, Running

__all__ = ["RunningCaddy"]


class RunningCaddy(Running):
    """One Caddy, whose log is ``access.log``."""

    template = "caddy/templates/caddy.json.j2"
    filters: typing.ClassVar = {
        "to_json": json.dumps,
        "quote": shlex.quote,
        "regex_replace": lambda text, pattern, by: re.sub(pattern, by, text),
    }

    def __init__(self, directory: Path) -> None:
        """Write the configuration; nothing runs yet but the servers."""
        super().__init__(directory)
        (self.state / "seats").mkdir()
        for host in self.hosts:
            (self.state / "seats" / host).write_text(self.backends[host, "blue"].address)
        self.configure()

    def configure(self, **changes: typing.Any) -> None:
        """Write the configuration as the role does, with some of its variables changed."""
        (self.directory / "caddy.json").write_text(self.render({**self._variables(), **changes}))

    def _variables(self) -> dict[str, typing.Any]:
        return {
            "caddy_app_name": "shop",
            "caddy_listen": self.public,
            "caddy_preview": {"blue": self.blue, "green": self.green},
            "caddy_admin": self.admin,
            "caddy_live_file": str(self.state / "live"),
            "caddy_door_file": str(self.state / "door"),
            "caddy_maintenance_page": PAGE,
            "caddy_health_paths": ["/health/live", "/health/ready"],
            "caddy_seats_dir": str(self.state / "seats"),
            "caddy_access_log": str(self.directory / "access.log"),
            "caddy_share_cookie": "baton_share",
            "caddy_health_path": "/health/ready",
            "caddy_app_group": "app",
            "groups": {"app": self.hosts},
            "caddy_servers": self.servers,
        }

    def start(self) -> None:
        """Start, and wait until all servers are up."""
        self.launch(self.program, "run", "--config", str(self.directory / "caddy.json"), **self._own)
        self.await_up()

    def reload(self) -> None:
        """Have the same configuration loaded once more, which Caddy does only when it is forced to."""
        config = ("--config", str(self.directory / "caddy.json"), "--address", self.admin)
        command = [self.program, "reload", "--force", *config]
        subprocess.run(command, env={**os.environ, **self._own}, capture_output=True, check=True, timeout=60)

    def reload_as_root(self) -> None:
        """Have it loaded once more as ``systemctl reload`` does where the role has set the service up: nobody connects meanwhile."""
        own = {
            "caddy_command": self.program,
            "caddy_config_path": str(self.directory / "caddy.json"),
            "caddy_service": "test",
        }
        script = self.render({**self._variables(), **own}, "caddy/templates/reload.sh.j2").replace(
            " reload ", " reload --force "
        )
        subprocess.run(
            ["sh"],
            input=script,
            text=True,
            env={**os.environ, **self._own},
            capture_output=True,
            check=True,
            timeout=60,
        )

    @property
    def program(self) -> str:
        """The path of Caddy."""
        program = shutil.which("caddy", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
        assert program is not None, "requirements.txt installs Caddy"
        return program

    @property
    def _own(self) -> dict[str, str]:
        return dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(self.directory))

    def balancer(self) -> Caddy:
        """Return the driver."""
        preview = {"blue": f"http://{self.blue}", "green": f"http://{self.green}"}
        return Caddy(f"http://{self.admin}", "shop", preview, "/health/ready", self.state)
