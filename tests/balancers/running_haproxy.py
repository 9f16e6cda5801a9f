# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""An HAProxy with the configuration of the role, its servers, and what a test does to them."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
import typing
from pathlib import Path

import jinja2
from ansible_collections.baton.release.plugins.module_utils.balancer_haproxy import HAProxy
from ansible_collections.baton.release.plugins.module_utils.haproxy_socket import Runtime, SilentError, Worker
from ansible_collections.baton.release.plugins.module_utils.switch import Wanted, observe, switch

from tests.balancers.backends import Backend

__all__ = ["HOSTS", "SLOTS", "RunningHAProxy", "free_ports"]

TEMPLATE = Path(__file__).resolve().parents[2] / "roles/haproxy/templates/haproxy.cfg.j2"
HOSTS = ("app1", "app2")
SLOTS = ("blue", "green")
PATIENCE_SECONDS = 20.0


class RunningHAProxy:
    """Master and worker, in ``directory``, with the sockets ``master`` and ``stats``."""

    def __init__(self, command: str, directory: Path) -> None:
        """Write the configuration; nothing runs yet but the servers."""
        self.directory = directory
        self.state = directory / "state"
        self.state.mkdir()
        self.master, self.stats = directory / "m.sock", directory / "s.sock"
        self.backends = {(host, slot): Backend(host, slot) for host in HOSTS for slot in SLOTS}
        self.public, self.blue, self.green = (f"127.0.0.1:{port}" for port in free_ports(3))
        self.url = f"http://{self.public}"
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        (self.state / "haproxy.map").write_text("shop none\n")
        self.configure()

    def configure(self, **changes: typing.Any) -> None:
        """Write the configuration as the role does, with some of its variables changed."""
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
            "haproxy_app_group": "app",
            "groups": {"app": HOSTS},
            "haproxy_servers": {host: {slot: self.backends[host, slot].address for slot in SLOTS} for host in HOSTS},
        }
        # A file, no page: nothing is to be escaped.
        environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)  # noqa: S701 - as said above
        text = environment.from_string(TEMPLATE.read_text()).render({**variables, **changes})
        (self.directory / "haproxy.cfg").write_text(text + "\n")

    def start(self) -> None:
        """Start, and wait until it answers."""
        arguments = [self._command, "-W", "-S", str(self.master), "-f", str(self.directory / "haproxy.cfg")]
        with (self.directory / "haproxy.log").open("ab") as log:
            self._process = subprocess.Popen(arguments, stdout=log, stderr=log, start_new_session=True)
        self.eventually(lambda: self.stats.exists() and self.balancer().pools() is not None)

    def kill(self) -> None:
        """Kill master and workers at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            self.eventually(lambda: not self._listening())

    def signal_reload(self) -> None:
        """Have the configuration read again, however that ends."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGUSR2)

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

    def close(self) -> None:
        """End everything."""
        self.kill()
        for backend in self.backends.values():
            backend.close()

    def balancer(self, admin: Path | None = None) -> HAProxy:
        """Return the driver, by default through the master."""
        return HAProxy(admin or self.master, "shop", self.state)

    def switch(self, slot: str, expected: str | None = None, **more: typing.Any) -> dict[str, typing.Any]:
        """Switch through the master."""
        driver = self.balancer(more.pop("admin", None))
        check_mode = more.pop("check_mode", False)
        wanted = Wanted(slot, expected, **{"min_up": 2, **more})
        return switch(driver, wanted, state_dir=self.state, token=None, check_mode=check_mode)

    def observe(self) -> dict[str, typing.Any]:
        """Return what is live, and the pools."""
        return observe(self.balancer(), self.state)

    def await_up(self) -> None:
        """Wait until all servers are up."""
        self.eventually(lambda: all(len(pool["up"]) == len(HOSTS) for pool in (self.balancer().pools() or {}).values()))

    def eventually(self, condition: typing.Callable[[], bool]) -> None:
        """Wait for something."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            log = self.directory / "haproxy.log"
            said = log.read_text()[-2000:] if log.exists() else ""
            assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s; HAProxy said {said}"
            time.sleep(0.05)

    def get(self, path: str = "/", address: str | None = None) -> tuple[int, str, str]:
        """Return status, slot and host of an answer, over a connection of its own."""
        connection = http.client.HTTPConnection(address or self.public, timeout=30)
        try:
            return ask(connection, path)
        finally:
            connection.close()

    def served(self, times: int = 8) -> set[tuple[str, str]]:
        """Return the slots and hosts that answer."""
        return {self.get()[1:] for _ in range(times)}

    def _listening(self) -> bool:
        host, _, port = self.public.partition(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return True
        return False


def ask(connection: http.client.HTTPConnection, path: str = "/") -> tuple[int, str, str]:
    """Return status, slot and host of an answer, over this connection."""
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    return response.status, response.getheader("X-Slot") or "", response.getheader("X-Instance") or ""


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listened on a moment ago."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]
