# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""An HAProxy with the configuration of the role."""

from __future__ import annotations

import contextlib
import signal
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.balancer_haproxy import HAProxy
from ansible_collections.baton.release.plugins.module_utils.haproxy_socket import Runtime, SilentError, Worker

from tests.balancers.running import PAGE, Running

__all__ = ["RunningHAProxy"]


class RunningHAProxy(Running):
    """Master and worker, with the sockets ``master`` and ``stats``."""

    template = "haproxy/templates/haproxy.cfg.j2"
    filters: typing.ClassVar[dict[str, typing.Callable[..., typing.Any]]] = {"bool": bool}

    def __init__(self, command: str, directory: Path) -> None:
        """Write the configuration; nothing runs yet but the servers."""
        super().__init__(directory)
        self.master, self.stats = directory / "m.sock", directory / "s.sock"
        self.command = command
        (self.state / "haproxy.map").write_text("shop none\n")
        self.configure()

    def variables(self, **changes: typing.Any) -> dict[str, typing.Any]:
        """Return the variables of the role's templates, with some of them changed."""
        variables: dict[str, typing.Any] = {
            "haproxy_app_name": "shop",
            "haproxy_listen": self.public,
            "haproxy_preview": {"blue": self.blue, "green": self.green},
            "haproxy_socket": self.stats,
            "haproxy_state_dir": self.state,
            "haproxy_share_cookie": "baton_share",
            "haproxy_user": "",
            "haproxy_group": "",
            "haproxy_timeout": 60,
            "haproxy_tunnel_timeout": 3600,
            "haproxy_ring_bytes": 1 << 20,
            "haproxy_health_path": "/health/ready",
            "haproxy_health_paths": ["/health/live", "/health/ready"],
            "haproxy_hold": True,
            "haproxy_hold_path": self.state / "haproxy.hold.lua",
            "haproxy_page_path": self.state / "haproxy.page.html",
            "haproxy_app_group": "app",
            "groups": {"app": self.hosts},
            "haproxy_servers": self.servers,
        }
        return {**variables, **changes}

    def configure(self, **changes: typing.Any) -> None:
        """Write the configuration as the role does, with some of its variables changed."""
        variables = self.variables(**changes)
        (self.directory / "haproxy.cfg").write_text(self.render(variables))
        variables["haproxy_hold_path"].write_text(self.render(variables, "haproxy/templates/hold.lua.j2"))
        variables["haproxy_page_path"].write_text(PAGE)

    def start(self) -> None:
        """Start, and wait until it answers."""
        self.launch(self.command, "-W", "-S", str(self.master), "-f", str(self.directory / "haproxy.cfg"))
        self.eventually(lambda: self.stats.exists() and self.balancer().pools() is not None)

    def signal_reload(self) -> None:
        """Have the configuration read again, however that ends."""
        self.signal(signal.SIGUSR2)

    def processes(self) -> str:
        """Return what the master says of its processes."""
        return Runtime(self.master).ask(Worker(0, current=True), "show proc")

    def reload(self) -> None:
        """Reload, and wait for the new worker."""
        before = {worker.pid for worker in Runtime(self.master).workers()}
        self.signal_reload()

        def reloaded() -> bool:
            with contextlib.suppress(SilentError):
                return any(one.current and one.pid not in before for one in Runtime(self.master).workers())
            return False

        self.eventually(reloaded)

    def balancer(self, admin: Path | None = None) -> HAProxy:
        """Return the driver, by default through the master."""
        return HAProxy(admin or self.master, "shop", self.state)
