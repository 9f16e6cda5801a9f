# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What is made of a Caddy's answers when servers behind it do not answer; with the real Caddy, tests/e2e sees the same."""

from __future__ import annotations

import http.server
import itertools
import json
import threading
import typing
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils import balancer_caddy
from ansible_collections.baton.release.plugins.module_utils.balancer_caddy import SERVER_HEADER, Caddy

SERVERS = ("127.0.0.1:8001", "127.0.0.1:8002", "127.0.0.1:8003")
HOSTS = ("app1", "app2", "app3")
ADMIN: dict[str, typing.Any] = {
    "/id/shop_blue/upstreams": [{"dial": f"tcp/{server}"} for server in SERVERS],
    "/id/shop_mixed/upstreams": [{"dial": f"{{file./state/seats/{host}}}"} for host in HOSTS],
    "/reverse_proxy/upstreams": [{"address": SERVERS[0], "num_requests": 3}],
}


class Answers(http.server.BaseHTTPRequestHandler):
    """Caddy's admin endpoint, and a preview that leads to one server after the other."""

    protocol_version = "HTTP/1.1"
    silent: typing.ClassVar[set[str]] = set()
    broken: typing.ClassVar[set[str]] = set()
    turn: typing.ClassVar[typing.Iterator[str]]
    done: typing.ClassVar[threading.Event]

    def do_GET(self) -> None:  # the name that http.server looks for
        if self.path in ADMIN:
            self._answer(200, json.dumps(ADMIN[self.path]).encode())
            return
        if self.path != "/health/ready":
            self._answer(404, b"{}")
            return
        server = next(self.turn)
        if server in self.silent:
            self.done.wait(30)
            self.close_connection = True
            return
        self._answer(503 if server in self.broken else 200, b"{}", server)

    def _answer(self, status: int, body: bytes, server: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if server:
            self.send_header(SERVER_HEADER, server)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: typing.Any) -> None:  # noqa: A002  # the parent's name
        """Say nothing."""


@contextmanager
def caddy(*, silent: typing.Collection[str] = (), broken: typing.Collection[str] = ()) -> typing.Iterator[Caddy]:
    """Have a Caddy with one pool, of whose servers some are not well."""
    done = threading.Event()
    settings = {"silent": set(silent), "broken": set(broken), "turn": itertools.cycle(SERVERS), "done": done}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Answers,), settings)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield Caddy(
                admin=url,
                app_name="shop",
                preview={"blue": url},
                health_path="/health/ready",
                state_dir=Path("/nowhere"),
            )
        finally:
            done.set()
            server.shutdown()


def test_all_servers_that_answer_are_up() -> None:
    with caddy() as one:
        assert one.pools() == {
            "blue": {
                "servers": list(SERVERS),
                "hosts": list(HOSTS),
                "up": list(SERVERS),
                "in_flight": {SERVERS[0]: 3, SERVERS[1]: 0, SERVERS[2]: 0},
            }
        }


@pytest.mark.parametrize("kind", ["silent", "broken"])
def test_a_server_that_does_not_answer_well_is_down_and_the_others_are_up(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balancer_caddy, "PROBE_SECONDS", 0.1)
    with caddy(**{kind: [SERVERS[1]]}) as one:
        pools = one.pools()
    assert pools is not None
    assert pools["blue"]["up"] == [SERVERS[0], SERVERS[2]]


def test_when_every_server_is_silent_none_is_up_within_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balancer_caddy, "PROBE_SECONDS", 0.05)
    with caddy(silent=SERVERS) as one:
        pools = one.pools()
    assert pools is not None
    assert pools["blue"]["up"] == []


def test_a_caddy_that_has_no_such_pool_or_is_not_there_is_not_as_configured() -> None:
    with caddy() as one:
        assert Caddy(one.admin, "other", one.preview, one.health_path, one.state_dir).pools() is None
        gone = Caddy(one.admin, "shop", one.preview, one.health_path, one.state_dir)
    assert gone.pools() is None
