# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""An nginx with the configuration of the role, its servers, and what a test does to them."""

from __future__ import annotations

import contextlib
import grp
import http.client
import json
import os
import pwd
import re
import signal
import socket
import subprocess
import time
import typing
from pathlib import Path

import jinja2
from ansible_collections.baton.release.plugins.module_utils.balancer_nginx import Nginx
from ansible_collections.baton.release.plugins.module_utils.switch import Wanted, observe, switch

from tests.balancers.backends import Backend

__all__ = ["HOSTS", "RunningNginx", "ask"]

TEMPLATE = Path(__file__).resolve().parents[2] / "roles/nginx/templates/nginx.conf.j2"
HOSTS = ("app1", "app2", "app3")
SLOTS = ("blue", "green")
PATIENCE_SECONDS = 20.0


class RunningNginx:
    """Master and two workers in ``directory``, whose log is ``access.log``."""

    def __init__(self, command: str, directory: Path) -> None:
        """Write the configuration; nothing runs yet but the servers."""
        self.directory = directory
        self.state = directory / "state"
        self.state.mkdir()
        self.log = directory / "access.log"
        self.backends = {(host, slot): Backend(host, slot) for host in HOSTS for slot in SLOTS}
        self.public, self.blue, self.green, self.admin = (f"127.0.0.1:{port}" for port in _free_ports(4))
        self.url = f"http://{self.public}"
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self.configure()

    def configure(self, user: str = "", **changes: typing.Any) -> None:
        """Write the configuration as the role does, with some of its variables changed; workers are ``user``, or who runs this."""
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
            "nginx_fingerprint": "",
            "nginx_app_group": "app",
            "groups": {"app": HOSTS},
            "nginx_servers": {host: {slot: self.backends[host, slot].address for slot in SLOTS} for host in HOSTS},
        }
        # A file, no page: nothing is to be escaped.
        environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)  # noqa: S701 - as said above
        environment.filters["regex_replace"] = lambda text, pattern, by: re.sub(pattern, by, text)
        text = environment.from_string(TEMPLATE.read_text()).render({**variables, **changes})
        (self.directory / "shop.conf").write_text(text + "\n")
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
        with (self.directory / "nginx.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._command, "-c", str(config)], stdout=log, stderr=log, start_new_session=True
            )
        self.eventually(lambda: bool(self.workers()))

    def kill(self) -> None:
        """Kill master and workers at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            self.eventually(lambda: not self._listening())

    def signal(self, number: signal.Signals) -> None:
        """Tell the master something."""
        assert self._process is not None
        os.kill(self._process.pid, number)

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

    def close(self) -> None:
        """End everything."""
        self.kill()
        for backend in self.backends.values():
            backend.close()

    def balancer(self, admin: str = "") -> Nginx:
        """Return the driver."""
        return Nginx(f"http://{admin or self.admin}", "shop", "/health/ready", self.state)

    def switch(self, slot: str, expected: str | None = None, **more: typing.Any) -> dict[str, typing.Any]:
        """Switch."""
        check_mode = more.pop("check_mode", False)
        wanted = Wanted(slot, expected, **{"min_up": 2, **more})
        return switch(self.balancer(), wanted, state_dir=self.state, token=None, check_mode=check_mode)

    def observe(self) -> dict[str, typing.Any]:
        """Return what is live, and the pools."""
        return observe(self.balancer(), self.state)

    def eventually(self, condition: typing.Callable[[], bool]) -> None:
        """Wait for something."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            said = "".join(path.read_text()[-2000:] for path in self.directory.glob("*.log"))
            assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s; nginx said {said}"
            time.sleep(0.05)

    def get(self, path: str = "/", address: str | None = None) -> tuple[int, str, str]:
        """Return status, slot and host of an answer, over a connection of its own."""
        connection = http.client.HTTPConnection(address or self.public, timeout=30)
        try:
            return ask(connection, path)
        finally:
            connection.close()

    def served(self, times: int = 48) -> set[tuple[str, str]]:
        """Return the slots and hosts that answer; one of three is missed by chance once in 100 million times."""
        return {self.get()[1:] for _ in range(times)}

    def _answering(self) -> int:
        connection = http.client.HTTPConnection(self.admin, timeout=30)
        try:
            connection.request("GET", "/")
            return int(json.loads(connection.getresponse().read())["pid"])
        finally:
            connection.close()

    def _listening(self) -> bool:
        host, _, port = self.public.partition(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return True
        return False


def ask(
    connection: http.client.HTTPConnection, path: str = "/", method: str = "GET", body: bytes | None = None
) -> tuple[int, str, str]:
    """Return status, slot and host of an answer, over this connection."""
    connection.request(method, path, body)
    response = connection.getresponse()
    response.read()
    return response.status, response.getheader("X-Slot") or "", response.getheader("X-Instance") or ""


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]
