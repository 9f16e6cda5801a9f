# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""An HAProxy that somebody has configured for themselves, before they have heard of this collection."""

from __future__ import annotations

import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.adopt import Finding, Wanted

from tests.balancers.adopting import check
from tests.balancers.backends import Backend
from tests.balancers.running import free_addresses
from tests.balancers.running_haproxy import RunningHAProxy

__all__ = ["OWN", "RunningOwnHAProxy"]

# As Debian's package has it, with a site of theirs: other defaults, another site on the same port, and no socket of use.
OWN = """\
global
    log /dev/log local0
    stats timeout 30s
    daemon
    {socket}

defaults
    log global
    mode http
    option httplog   # to syslog
    option dontlognull
    timeout connect 5000
    timeout client 50000
    timeout server 50000

frontend www
    bind {users}
    acl other hdr(host) -i other.example.com
    use_backend other if other
    default_backend web

backend web
    balance roundrobin
    server web1 {web} check

backend other
    server web1 {web}
"""


class RunningOwnHAProxy(RunningHAProxy):
    """Users come through ``users``, where the server ``web`` answers before the app does."""

    def __init__(self, command: str, directory: Path) -> None:
        """Write their configuration; what the role would write is only for ``wanted``."""
        self.web = Backend("web1", "before")
        (self.users,) = free_addresses(1)
        self.etc = directory / "etc"
        self.etc.mkdir()
        super().__init__(command, directory)
        self.state.rename(directory / "elsewhere")
        self.own = self.etc / "haproxy.cfg"
        self.with_master = True
        self.changes: dict[str, typing.Any] = {}
        self.write()

    def configure(self, **changes: typing.Any) -> None:
        """Do not write the role's configuration."""

    def write(self, text: str = OWN, socket: str = "") -> None:
        """Write their configuration."""
        self.own.write_text(text.format(users=self.users, web=self.web.address, socket=socket))

    def start(self) -> None:
        """Start, and wait until it serves."""
        self.start_with("-f", str(self.own))

    def start_with(self, *files: str) -> None:
        """Start in the directory of the files, with these, and wait until it serves."""
        master = ["-S", str(self.master)] if self.with_master else []
        # In the foreground, for the test.
        self.launch(self.command, "-C", str(self.etc), "-W", "-db", *master, *files)
        self.eventually(lambda: self.listening(self.users))
        self.eventually(lambda: not self.with_master or self.master.exists())

    def wanted(self, admin: Path | None = None, **changes: typing.Any) -> Wanted:
        """Return what is needed, as the role renders it."""
        variables = self.variables(**{**self.changes, **changes})
        return Wanted(
            app_name="shop",
            state_dir=self.state,
            admin=str(admin or self.master),
            url=f"http://{self.users}",
            health_path="/health/ready",
            listen={"public": variables["haproxy_listen"], "blue": self.blue, "green": self.green},
            configuration=self.render(variables),
            config_path=self.own,
            main_config=self.own,
            files={
                str(variables["haproxy_hold_path"]): self.render(variables, "haproxy/templates/hold.lua.j2"),
                str(variables["haproxy_page_path"]): "<h1>Back soon</h1>\n",
            },
            access_log="",
            entry="",
            command=self.command,
        )

    def check(self, admin: Path | None = None, **changes: typing.Any) -> dict[str, Finding]:
        """Run the check."""
        return check("haproxy", self.wanted(admin, **changes))

    def close(self) -> None:
        """End everything."""
        super().close()
        self.web.close()
