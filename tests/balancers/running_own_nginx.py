# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""An nginx that somebody has configured for themselves, before they have heard of this collection."""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.adopt import Finding, Wanted

from tests.balancers.adopting import check
from tests.balancers.backends import Backend
from tests.balancers.running import PAGE, free_addresses
from tests.balancers.running_nginx import RunningNginx

__all__ = ["RunningOwnNginx"]

# As a distribution has it, with a site of theirs.
MAIN = """\
{user}
daemon off; worker_processes 2; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    include {etc}/conf.d/*.conf;   # none yet
    include "sites-enabled/*";
}}
"""
SITE = """\
# the site; a brace in a comment {{ and a quote "
server {{
    listen {users} default_server;
    server_name shop.example.com;
    add_header X-Own 'a; b }} c';
    location /other {{
        return 200 "other";
    }}
    location / {{
        proxy_pass http://{web};
    }}
}}
"""


class RunningOwnNginx(RunningNginx):
    """Users come through ``users``, where the server ``web`` answers before the app does."""

    def __init__(self, command: str, directory: Path) -> None:
        """Write their configuration; what the role would write is only for ``wanted``."""
        self.web = Backend("web1", "before")
        (self.users,) = free_addresses(1)
        self.etc = directory / "etc"
        self.changes: dict[str, typing.Any] = {}
        for name in ("conf.d", "sites-enabled"):
            (self.etc / name).mkdir(parents=True)
        super().__init__(command, directory)
        self.state.rename(directory / "elsewhere")
        self.main, self.site, self.app = (
            self.etc / one for one in ("nginx.conf", "sites-enabled/shop", "conf.d/shop.conf")
        )
        self.write()

    def configure(self, user: str = "", **changes: typing.Any) -> None:
        """Do not write the role's configuration."""

    def write(self, main: str = MAIN, site: str = SITE) -> None:
        """Write their configuration."""
        user = "user root;" if os.geteuid() == 0 else ""
        self.main.write_text(main.format(user=user, directory=self.directory, etc=self.etc))
        self.site.write_text(site.format(users=self.users, web=self.web.address))

    def start(self) -> None:
        """Start, and wait until it serves."""
        self.run(self.main)
        self.eventually(lambda: self.listening(self.users))

    def wanted(self, **changes: typing.Any) -> Wanted:
        """Return what is needed, as the role renders it."""
        variables = self.variables(**{**self.changes, **changes})
        fingerprint = hashlib.sha256(self.render(variables).encode()).hexdigest()
        return Wanted(
            app_name="shop",
            state_dir=self.state,
            admin=f"http://{self.admin}",
            url=f"http://{self.users}",
            health_path="/health/ready",
            listen={
                "public": variables["nginx_listen"],
                "blue": self.blue,
                "green": self.green,
                "admin": variables["nginx_admin"],
            },
            configuration=self.render({**variables, "nginx_fingerprint": fingerprint}),
            config_path=self.app,
            main_config=self.main,
            files={str(self.state / "nginx.page.html"): PAGE},
            access_log=str(self.log),
            entry=self.render(variables, "nginx/templates/entry.conf.j2"),
            command=self.command,
        )

    def load(self) -> None:
        """Have the files read again, and wait for new workers alone."""
        before = self.workers()
        self.signal(signal.SIGHUP)
        self.eventually(lambda: bool(self.workers()) and not before & self.workers())

    def page_at(self, path: str) -> tuple[int, str]:
        """Return status and body of an answer to users."""
        connection = http.client.HTTPConnection(self.users, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def check(self, **changes: typing.Any) -> dict[str, Finding]:
        """Run the check."""
        return check("nginx", self.wanted(**changes))

    def close(self) -> None:
        """End everything."""
        super().close()
        self.web.close()
