# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What the load balancers under test have in common: their servers, the driver, and what a test does to them."""

from __future__ import annotations

import abc
import contextlib
import http.client
import os
import socket
import subprocess
import time
import typing
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals

import jinja2
from ansible_collections.baton.release.plugins.module_utils.door import Door
from ansible_collections.baton.release.plugins.module_utils.door_change import move_door
from ansible_collections.baton.release.plugins.module_utils.switch import Balancer, Wanted, observe, switch

from tests.balancers.backends import Backend

__all__ = ["PAGE", "SLOTS", "Running", "ask", "free_addresses"]

ROLES = Path(__file__).resolve().parents[2] / "roles"
SLOTS = ("blue", "green")
PAGE = "<h1>Back soon</h1>\n"
PATIENCE_SECONDS = 20.0


class Running(abc.ABC):
    """A load balancer in a directory of its own, with the configuration of its role."""

    hosts: tuple[str, ...] = ("app1", "app2")
    template: str
    """Below ``roles``."""
    filters: typing.ClassVar[dict[str, typing.Callable[..., typing.Any]]] = {}
    """Ansible's filters that the template uses."""

    def __init__(self, directory: Path) -> None:
        """Start the servers; the load balancer itself is not started yet."""
        self.directory = directory
        self.state = directory / "state"
        self.state.mkdir()
        self.backends = {(host, slot): self.serve(host, slot) for host in self.hosts for slot in SLOTS}
        self.public, self.blue, self.green, self.admin = free_addresses(4)
        self.url = f"http://{self.public}"
        self._process: subprocess.Popen[bytes] | None = None

    def serve(self, host: str, slot: str) -> Backend:
        """Return a server."""
        return Backend(host, slot)

    @abc.abstractmethod
    def balancer(self) -> Balancer:
        """Return the driver."""

    @property
    def servers(self) -> dict[str, dict[str, str]]:
        """The addresses of the servers, as the role's variables have them."""
        return {host: {slot: self.backends[host, slot].address for slot in SLOTS} for host in self.hosts}

    def render(self, variables: dict[str, typing.Any], template: str = "") -> str:
        """Return a template of the role, by default the configuration, with these variables."""
        # A file, no page: nothing is to be escaped.
        environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)  # noqa: S701 - as said above
        environment.filters.update(self.filters)
        text = environment.from_string((ROLES / (template or self.template)).read_text()).render(variables)
        return text + "\n"

    def launch(self, *command: str, **environment: str) -> None:
        """Start the program; what it says is in ``program.log``."""
        with (self.directory / "program.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True
            )

    def signal(self, number: Signals) -> None:
        """Tell the program something."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def stop(self, how: Signals = SIGTERM) -> None:
        """End the program, by default in good order."""
        if self._process is not None:
            self.signal(how)
            self._process.wait(30)
            self._process = None

    def kill(self) -> None:
        """Kill all of its processes at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, SIGKILL)
            self._process.wait()
            self._process = None
            self.eventually(lambda: not self.listening())

    def close(self) -> None:
        """End everything."""
        self.kill()
        for backend in self.backends.values():
            backend.close()

    def switch(self, slot: str, expected: str | None = None, **more: typing.Any) -> dict[str, typing.Any]:
        """Switch."""
        driver = more.pop("driver", None) or self.balancer()
        check_mode = more.pop("check_mode", False)
        wanted = Wanted(slot, expected, **{"min_up": 2, **more})
        return switch(driver, wanted, state_dir=self.state, token=None, check_mode=check_mode)

    def move_door(self, door: Door, **more: typing.Any) -> dict[str, typing.Any]:
        """Open or close the door."""
        named = {"drain": 0.0, "token": None, **more}
        return move_door(self.balancer(), door, state_dir=self.state, **named)

    def observe(self) -> dict[str, typing.Any]:
        """Return what is live, and the pools."""
        return observe(self.balancer(), self.state)

    def await_up(self) -> None:
        """Wait until all servers are up."""
        self.eventually(self._up)

    def eventually(self, condition: typing.Callable[[], bool]) -> None:
        """Wait for something."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            said = "".join(path.read_text()[-2000:] for path in self.directory.glob("*.log"))
            assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS:g} s; it said {said}"
            time.sleep(0.05)

    def get(self, path: str = "/", address: str | None = None) -> tuple[int, str, str]:
        """Return status, slot and host of an answer, over a connection of its own."""
        connection = http.client.HTTPConnection(address or self.public, timeout=30)
        try:
            return ask(connection, path)
        finally:
            connection.close()

    def page(self, path: str = "/") -> tuple[int, str, str]:
        """Return status, Retry-After and body of an answer to users."""
        connection = http.client.HTTPConnection(self.public, timeout=150)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read().decode()
            return response.status, response.getheader("Retry-After") or "", body
        finally:
            connection.close()

    def served(self, times: int = 8) -> set[tuple[str, str]]:
        """Return the slots and hosts that answer."""
        return {self.get()[1:] for _ in range(times)}

    def _up(self) -> bool:
        pools = self.balancer().pools() or {}
        return bool(pools) and all(len(pool["up"]) == len(self.hosts) for pool in pools.values())

    def listening(self, address: str = "") -> bool:
        """Say whether something takes connections there, by default where the public comes in."""
        host, _, port = (address or self.public).partition(":")
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


def free_addresses(count: int) -> list[str]:
    """Return addresses of this machine that nothing has now."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
