# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The driver for nginx, with the real one: what is live, the seats, and what clients see meanwhile."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import threading
import time
import typing
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils import balancer_nginx, connections
from ansible_collections.baton.release.plugins.module_utils.balancers import balancer
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.nginx_links import NginxLinks

from tests.balancers.backends import Backend
from tests.balancers.running import ask
from tests.balancers.running_nginx import RunningNginx
from tests.witness.checker import judge, stale
from tests.witness.process import Witness

HOSTS = RunningNginx.hosts
SWITCHES = 20
BUSY_SECONDS = 10.0
"""The witness may be silent for so long where other tests keep both cores busy."""


def files_of(nginx: RunningNginx) -> dict[str, str]:
    """Return what lies in the state directory: links with where they lead, and files."""
    return {
        str(path.relative_to(nginx.state)): str(path.readlink()) if path.is_symlink() else path.read_text()
        for path in nginx.state.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@contextlib.contextmanager
def begun(nginx: RunningNginx, request: str) -> typing.Iterator[socket.socket]:
    """Begin a request, so that a server has it."""
    host, _, port = nginx.public.partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(request.encode())
        nginx.eventually(lambda: any(backend.held.is_set() for backend in nginx.backends.values()))
        yield client


def holder(nginx: RunningNginx) -> Backend:
    """Return the server that has the request."""
    return next(backend for backend in nginx.backends.values() if backend.held.is_set())


def rest(client: socket.socket) -> bytes:
    """Return what comes until the other side ends."""
    return b"".join(iter(lambda: client.recv(1000), b""))


def test_before_the_first_release_nothing_is_live_and_the_previews_answer(nginx: RunningNginx) -> None:
    seen = nginx.observe()
    assert (seen["live"], seen["answering"], seen["seats"]) == ("none", True, {})
    assert seen["pools"]["green"]["hosts"] == list(HOSTS)
    assert nginx.get()[0] == 503
    assert (nginx.get(address=nginx.blue)[1], nginx.get(address=nginx.green)[1]) == ("blue", "green")


def test_switching_there_and_back_loses_nothing_and_leaves_nothing_stale(nginx: RunningNginx, tmp_path: Path) -> None:
    nginx.switch("blue", "none")
    after: list[tuple[float, str]] = []
    with Witness(nginx.url, tmp_path / "ledger", rate=50, posts=[("/orders", "{}")], connections=8) as witness:
        witness.wait_until_flowing()
        for number in range(SWITCHES):
            old, new = ("blue", "green") if number % 2 == 0 else ("green", "blue")
            assert nginx.switch(new, old)["changed"]
            after.append((time.time(), old))
            time.sleep(0.2)
        ledger = witness.stop()
    verdict = judge(ledger, expect_versions=["blue", "green"], max_silence=BUSY_SECONDS)
    assert verdict.ok, verdict.reasons
    ends = [*(at for at, _old in after[1:]), float("inf")]
    for (since, old), end in zip(after, ends, strict=True):
        # The next switch back begins a little before it has ended.
        seen = [record for record in stale(ledger, old=old, since=since) if record.start < min(end, since + 0.15)]
        assert not seen


def test_a_target_is_passed_on_as_the_client_wrote_it(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    asked: list[str] = []
    for backend in nginx.backends.values():
        backend.asked = asked
    nginx.get("/a%2Fb//c/../d?x=%20&y=a+b")
    assert asked == ["/a%2Fb//c/../d?x=%20&y=a+b"]


def test_an_answer_of_the_app_is_passed_on_whatever_its_status(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    assert [nginx.get(f"/{status}")[:2] for status in (404, 418, 500, 502)] == [
        (404, "blue"),
        (418, "blue"),
        (500, "blue"),
        (502, "blue"),
    ]


def test_a_link_to_what_nobody_knows_is_answered_by_no_slot_and_named(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    live = nginx.state / "nginx.live"
    for target in ("nginx.d/to/yellow", "/etc"):
        live.unlink()
        live.symlink_to(target)
        assert nginx.get() == (503, "", "")
        with pytest.raises(BatonError, match=f"is '{target}'"):
            nginx.observe()
    live.unlink()
    live.write_text("green")
    assert nginx.get() == (503, "", "")
    with pytest.raises(BatonError, match="no link"):
        nginx.observe()


def test_what_is_live_and_the_seats_survive_a_kill_a_restart_and_a_reload(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    nginx.switch("mixed", "blue", seats={"app1": "green", "app2": "out"})
    wanted, seats = {("green", "app1"), ("blue", "app3")}, {"app1": "green", "app2": "out", "app3": "blue"}
    assert nginx.served() == wanted
    nginx.kill()
    while_dead = nginx.balancer().routing({})
    assert (while_dead.live, while_dead.seats) == ("mixed", seats)
    nginx.start()
    assert nginx.served() == wanted
    assert nginx.observe()["seats"] == seats
    nginx.reload()
    assert nginx.served() == wanted
    assert not nginx.switch("mixed", "mixed", seats={"app1": "green"})["changed"]
    nginx.switch("green", "mixed")
    nginx.kill()
    nginx.start()
    assert {slot for slot, _host in nginx.served()} == {"green"}


def test_seats_change_host_by_host_and_one_that_is_out_gets_nothing(nginx: RunningNginx, tmp_path: Path) -> None:
    nginx.switch("blue", "none")
    with Witness(nginx.url, tmp_path / "ledger", rate=50, posts=[("/orders", "{}")], connections=8) as witness:
        witness.wait_until_flowing()
        result = nginx.switch("mixed", "blue", seats={"app1": "out"}, drain=5)
        assert (result["seats"], result["draining"]) == ({"app1": "out", "app2": "blue", "app3": "blue"}, {})
        assert nginx.served() == {("blue", "app2"), ("blue", "app3")}
        nginx.switch("mixed", "mixed", seats={"app1": "green"}, drain=5)
        assert nginx.served() == {("green", "app1"), ("blue", "app2"), ("blue", "app3")}
        nginx.switch("mixed", "mixed", seats={"app2": "green", "app3": "green"}, drain=5)
        nginx.switch("green", "mixed")
        ledger = witness.stop()
    verdict = judge(ledger, expect_versions=["blue", "green"], max_silence=BUSY_SECONDS)
    assert verdict.ok, verdict.reasons
    with pytest.raises(BatonError, match="every app host would be out"):
        nginx.switch("mixed", "green", seats=dict.fromkeys(HOSTS, "out"), min_up=0)


def test_the_share_of_a_host_that_dies_goes_to_the_others_also_what_may_not_be_repeated(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    nginx.switch("mixed", "blue", seats={"app1": "green"})
    nginx.backends["app1", "green"].close()
    connection = http.client.HTTPConnection(nginx.public, timeout=30)
    answers = {ask(connection, method=method, body=b"{}") for method in ("GET", "POST") for _ in range(48)}
    connection.close()
    assert answers == {(200, "blue", "app2"), (200, "blue", "app3")}


def test_a_server_that_takes_requests_and_dies_gets_those_that_may_not_be_repeated_only_once(
    nginx: RunningNginx,
) -> None:
    nginx.switch("blue", "none")
    nginx.switch("mixed", "blue", seats={"app1": "green"})
    rude = nginx.backends["app1", "green"]
    rude.close()
    taken = []
    with socket.create_server(("127.0.0.1", int(rude.address.rpartition(":")[2]))) as listener:

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _address = listener.accept()
                    with client:
                        taken.append(client.recv(1000).split()[0])

        threading.Thread(target=take, daemon=True).start()
        posts = [_posted(nginx) for _ in range(48)]
        assert posts.count(502) == taken.count(b"POST") > 0
        assert {nginx.get()[0] for _ in range(48)} == {200}
        assert b"GET" in taken
        listener.shutdown(socket.SHUT_RDWR)


def _posted(nginx: RunningNginx) -> int:
    connection = http.client.HTTPConnection(nginx.public, timeout=30)
    try:
        return ask(connection, method="POST", body=b"{}")[0]
    finally:
        connection.close()


def test_an_upload_that_began_before_a_switch_goes_to_what_is_live_when_its_server_is_gone(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    host, _, port = nginx.public.partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 4\r\n\r\n{}")
        time.sleep(0.5)
        nginx.switch("green", "blue")
        for name in HOSTS:
            nginx.backends[name, "blue"].close()
        client.sendall(b"{}")
        answer = rest(client)
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"X-Slot: green" in answer


@pytest.mark.parametrize("request_line", ["GET /held", "GET /slow"])
def test_drain_waits_for_a_request_and_a_download_and_counts_what_is_left(
    nginx: RunningNginx, request_line: str
) -> None:
    nginx.switch("blue", "none")
    with begun(nginx, f"{request_line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n") as client:
        held = holder(nginx)
        assert nginx.observe()["pools"]["blue"]["in_flight"][held.address] == 1
        began = time.monotonic()
        result = nginx.switch("mixed", "blue", seats={held.host: "green"}, drain=1)
        assert time.monotonic() - began >= 1
        assert result["draining"] == {held.address: 1}
        # Also a worker that a reload has left.
        nginx.reload()
        nginx.switch("mixed", "mixed", seats={held.host: "blue"})
        threading.Timer(1, held.release.set).start()
        assert nginx.switch("mixed", "mixed", seats={held.host: "out"}, drain=15)["draining"] == {}
        assert held.release.is_set()
        answer = rest(client)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"{}")


def test_drain_waits_for_a_websocket_which_lives_on(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    wanted = "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    with begun(nginx, wanted) as client:
        held = holder(nginx)
        assert client.recv(1000).startswith(b"HTTP/1.1 101")
        result = nginx.switch("mixed", "blue", seats={held.host: "green"}, drain=0.5)
        assert result["draining"] == {held.address: 1}
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
    nginx.switch("mixed", "mixed", seats={held.host: "blue"})
    assert nginx.switch("mixed", "mixed", seats={held.host: "out"}, drain=15)["draining"] == {}


def test_a_websocket_may_be_silent_for_longer_than_a_request(nginx: RunningNginx) -> None:
    nginx.configure(nginx_timeout=1, nginx_tunnel_timeout=60)
    nginx.reload()
    nginx.switch("blue", "none")
    wanted = "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    with begun(nginx, wanted) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 101")
        for backend in nginx.backends.values():
            backend.held.clear()
        with begun(nginx, "GET /held HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n") as other:
            assert rest(other).startswith(b"HTTP/1.1 504")
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"


def test_where_no_nginx_is_seen_a_drain_takes_all_its_time_and_the_result_warns(
    nginx: RunningNginx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nginx.switch("blue", "none")
    assert nginx.balancer().warnings() == []
    monkeypatch.setattr(connections, "_PROC", tmp_path)
    server = nginx.backends["app1", "blue"].address
    result = nginx.switch("mixed", "blue", seats={"app1": "green"}, drain=0.5)
    assert result["draining"] == {server: None}
    assert result["pools"]["blue"]["in_flight"] == {}
    assert "a drain takes all its time" in nginx.balancer().warnings()[0]


def test_another_live_slot_than_expected_is_refused(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    before = files_of(nginx)
    with pytest.raises(BatonError, match="blue is live") as caught:
        nginx.switch("green", "none")
    assert caught.value.details["live"] == "blue"
    assert files_of(nginx) == before
    assert nginx.get()[1] == "blue"


def test_a_server_that_is_down_or_unhealthy_is_not_up(nginx: RunningNginx) -> None:
    nginx.backends["app1", "green"].healthy = False
    nginx.backends["app2", "green"].close()
    assert nginx.observe()["pools"]["green"]["up"] == [nginx.backends["app3", "green"].address]
    with pytest.raises(BatonError, match="nothing was switched"):
        nginx.switch("green", "none", wait=0)
    nginx.switch("blue", "none")
    with pytest.raises(BatonError, match=f"among them {nginx.backends['app1', 'green'].address}"):
        nginx.switch("mixed", "blue", seats={"app1": "green"}, wait=0)
    assert nginx.switch("green", "blue", min_up=1)["changed"]
    # A server that refuses connections costs no request.
    assert {nginx.get()[0] for _ in range(20)} == {200}


def test_check_mode_changes_nothing(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    before = files_of(nginx)
    result = nginx.switch("green", "blue", check_mode=True)
    assert (result["changed"], result["live"]) == (True, "green")
    nginx.switch("mixed", "blue", seats={"app1": "green"}, check_mode=True)
    assert files_of(nginx) == before
    assert nginx.get()[1] == "blue"


def test_links_that_somebody_has_changed_are_put_right_by_the_next_change(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    (nginx.state / "nginx.d/to/blue/7f").unlink()
    result = nginx.switch("blue", "blue")
    assert (result["changed"], result["diff"]["before"]) == (True, "blue (1 links lead elsewhere)\n")
    nginx.switch("mixed", "blue", seats={"app1": "green"})
    link = nginx.state / "nginx.live/7f"
    link.unlink()
    link.symlink_to("../to/app1_blue")
    assert "1 links lead elsewhere" in nginx.switch("mixed", "mixed", seats={"app1": "green"})["diff"]["before"]
    assert not nginx.switch("mixed", "mixed", seats={"app1": "green"})["changed"]


def test_seats_of_a_host_that_nginx_does_not_know_are_made_anew(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    nginx.switch("mixed", "blue", seats={"app1": "green"})
    nginx.configure(groups={"app": HOSTS[:2]})
    nginx.reload()
    routing = nginx.balancer().routing({})
    assert (dict(routing.seats), "app3" in routing.unsettled) == ({"app1": "green", "app2": "blue"}, True)
    assert nginx.switch("mixed", "mixed", seats={"app1": "green"})["changed"]
    assert nginx.served() == {("green", "app1"), ("blue", "app2")}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have nginx run as somebody else")
def test_links_that_nginx_may_not_follow_are_noticed_before_anything_changes(
    nginx: RunningNginx, tmp_path: Path
) -> None:
    nginx.configure(user="nobody")
    nginx.kill()
    nginx.start()
    with pytest.raises(BatonError, match="nginx, which follows them, finds none"):
        nginx.switch("blue", "none")
    assert not (nginx.state / "nginx.live").exists()
    before = os.umask(0o077)
    try:
        for directory in (tmp_path, *tmp_path.parents):
            directory.chmod(0o755)
            if directory.name.startswith("pytest-of-"):
                break
        nginx.switch("blue", "none")
        assert nginx.get()[1] == "blue"
        nginx.state.chmod(0o700)
        with pytest.raises(BatonError, match="finds none"):
            nginx.observe()
    finally:
        os.umask(before)


def test_a_balancer_that_is_dead_is_known_by_its_links_and_a_switch_fails(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    nginx.kill()
    seen = nginx.observe()
    assert (seen["answering"], seen["live"]) == (False, "blue")
    assert nginx.balancer().in_flight() is None
    with pytest.raises(BatonError, match="does not answer"):
        nginx.switch("green", "blue", wait=0)
    assert nginx.observe()["live"] == "blue"
    # In an emergency it at least begins with the right slot, and the run still fails.
    with pytest.raises(BatonError, match="goes by green when it is started"):
        nginx.switch("green", min_up=0)
    nginx.start()
    assert nginx.get()[1] == "green"


def test_one_that_is_stopped_counts_as_silent(nginx: RunningNginx) -> None:
    own = balancer_nginx.Nginx(f"http://{nginx.admin}", "shop", "/health/ready", nginx.state, timeout=0.5)
    workers = nginx.workers()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert own.pools() is None
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    nginx.eventually(lambda: own.pools() is not None)


def test_another_nginx_than_the_one_that_is_meant_is_named(nginx: RunningNginx) -> None:
    other = balancer_nginx.Nginx(f"http://{nginx.admin}", "books", "/health/ready", nginx.state)
    with pytest.raises(BatonError, match="is configured for shop"):
        other.pools()
    other = balancer_nginx.Nginx(f"http://{nginx.admin}", "shop", "/health/ready", nginx.directory)
    with pytest.raises(BatonError, match=f"with those in {nginx.directory}"):
        other.routing({})
    # A listener that does not say what it is.
    assert nginx.balancer(nginx.blue).pools() is None


def test_a_reload_with_connections_that_are_not_kept_loses_nothing(nginx: RunningNginx, tmp_path: Path) -> None:
    nginx.configure(nginx_keepalive_timeout=0)
    nginx.reload()
    nginx.switch("blue", "none")
    with Witness(nginx.url, tmp_path / "ledger", rate=50, connections=8) as witness:
        witness.wait_until_flowing()
        for old, new in (("blue", "green"), ("green", "blue"), ("blue", "green")):
            nginx.reload()
            nginx.switch(new, old)
            told_at = time.time()
            time.sleep(0.5)
        ledger = witness.stop()
    verdict = judge(ledger, expect_versions=["blue", "green"], max_silence=BUSY_SECONDS)
    assert verdict.ok, verdict.reasons
    assert not stale(ledger, old="blue", since=told_at)


def test_what_was_live_is_kept_for_workers_that_are_just_looking_and_then_removed(
    nginx: RunningNginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    nginx.switch("blue", "none")
    for slot in ("green", "blue", "green"):
        nginx.switch("mixed", seats={"app1": slot, "app2": "blue"})
    kept = sorted(path.name for path in (nginx.state / "nginx.d").iterdir())
    assert kept == ["mixed.1", "mixed.2", "mixed.3", "to"]
    monkeypatch.setattr("ansible_collections.baton.release.plugins.module_utils.nginx_links.KEPT_SECONDS", 0)
    nginx.switch("mixed", seats={"app1": "blue"})
    assert sorted(path.name for path in (nginx.state / "nginx.d").iterdir()) == ["mixed.4", "to"]
    assert NginxLinks(nginx.state).routing().seats == dict.fromkeys(HOSTS, "blue")


def test_without_a_url_it_is_the_listener_that_the_role_has_for_this() -> None:
    options = {"driver": "nginx", "admin": None, "app_name": "shop", "state_dir": "/nowhere", "health_path": "/up"}
    assert balancer(options) == balancer_nginx.Nginx("http://127.0.0.1:8083", "shop", "/up", Path("/nowhere"))
