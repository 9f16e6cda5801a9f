# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""An nginx with the configuration of the role."""

from __future__ import annotations

import grp
import http.client
import json
import os
import pwd
import re
import signal
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.balancer_nginx import Nginx

from tests.balancers.running import PAGE, Running

__all__ = ["RunningNginx"]


def _replaced(text: str, pattern: str, by: str) -> str:
    return re.sub(pattern, by, text)


class RunningNginx(Running):
    """Master and two workers, whose log is ``access.log``."""

    hosts = ("app1", "app2", "app3")
    template = "nginx/templates/nginx.conf.j2"
    filters: typing.ClassVar = {"regex_replace": _replaced}

    def __init__(self, command: str, directory: Path) -> None:
        """Write the configuration; nothing runs yet but the servers."""
        super().__init__(directory)
        self.log = directory / "access.log"
        self.command = command
        self.configure()

    def variables(self, **changes: typing.Any) -> dict[str, typing.Any]:
        """Return the variables of the role's templates, with some of them changed."""
        variables: dict[str, typing.Any] = {
            "nginx_app_name": "shop",
            "nginx_listen": self.public,
            "nginx_preview": {"blue": self.blue, "green": self.green},
            "nginx_admin": self.admin,
            "nginx_state_dir": self.state,
            "nginx_access_log": self.log,
            "nginx_timeout": 60,
            "nginx_tunnel_timeout": 3600,
            "nginx_keepalive_timeout": 60,
            "nginx_keepalive_min_timeout": "",
            "nginx_body_max": "0",
            "nginx_share_cookie": "baton_share",
            "nginx_fingerprint": "",
            "nginx_health_paths": ["/health/live", "/health/ready"],
            "nginx_app_group": "app",
            "groups": {"app": self.hosts},
            "nginx_servers": self.servers,
        }
        return {**variables, **changes}

    def configure(self, user: str = "", **changes: typing.Any) -> None:
        """Write the configuration as the role does, with some of its variables changed; workers are ``user``, or who runs this."""
        (self.directory / "shop.conf").write_text(self.render(self.variables(**changes)))
        (self.state / "nginx.page.html").write_text(PAGE)
        account = pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())
        (self.directory / "nginx.conf").write_text(
            f"daemon off; worker_processes 2; pid {self.directory}/nginx.pid; error_log {self.directory}/error.log;\n"
            + (f"user {account.pw_name} {grp.getgrgid(account.pw_gid).gr_name};\n" if os.geteuid() == 0 else "")
            + "events { worker_connections 512; }\n"
            # What an administrator may have set for all: the one hides a file that has changed, the other an answer.
            + f"http {{ open_file_cache max=1000; proxy_intercept_errors on; access_log off; include {self.directory}/shop.conf; }}\n"
        )

    def start(self) -> None:
        """Start, and wait until it answers."""
        self.run(self.directory / "nginx.conf")
        self.eventually(lambda: self.balancer().pools() is not None)

    def run(self, config: Path) -> None:
        """Run with some configuration, and wait for its workers."""
        self.launch(self.command, "-c", str(config))
        self.eventually(lambda: bool(self.workers()))

    def workers(self) -> set[int]:
        """Return the processes that serve."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return {int(pid) for pid in children.split()}

    def reload(self) -> None:
        """Reload, and wait until the new workers alone take connections."""
        before = self.workers()
        self.signal(signal.SIGHUP)
        self.eventually(lambda: not before & {self._answering() for _ in range(10)})

    def balancer(self, admin: str = "") -> Nginx:
        """Return the driver."""
        return Nginx(f"http://{admin or self.admin}", "shop", "/health/ready", self.state)

    def served(self, times: int = 48) -> set[tuple[str, str]]:
        """Return the slots and hosts that answer; one of three is missed by chance once in 100 million times."""
        return super().served(times)

    def _answering(self) -> int:
        connection = http.client.HTTPConnection(self.admin, timeout=30)
        try:
            connection.request("GET", "/")
            return int(json.loads(connection.getresponse().read())["pid"])
        finally:
            connection.close()
