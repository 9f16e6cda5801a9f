# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The door of the real HAProxy: users wait or get a page, health and previews pass, and what was said survives whatever happens."""

from __future__ import annotations

import http.client
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.door import HELD, MAINTENANCE, Door
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.haproxy_socket import Runtime

from tests.balancers.running import PAGE, ask
from tests.balancers.running_haproxy import RunningHAProxy
from tests.witness.checker import judge, stale
from tests.witness.process import Witness

CLOSED = Door(MAINTENANCE, retry_after=120)
HOLD = Door(HELD, hold_limit=20, retry_after=7)
BUSY_SECONDS = 10.0


def told(haproxy: RunningHAProxy, command: str) -> str:
    runtime = Runtime(haproxy.stats)
    return runtime.ask(runtime.workers()[0], command)


def test_maintenance_shows_users_the_page_while_health_and_previews_pass(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    assert haproxy.observe()["door"] == {"state": "open", "hold_limit": 0, "retry_after": 0, "unsettled": ""}
    result = haproxy.move_door(CLOSED)
    assert (result["changed"], result["door"]["state"], result["live"]) == (True, "maintenance", "blue")
    assert "the maintenance page is shown" in result["diff"]["after"]
    assert haproxy.page() == (503, "120", PAGE)
    assert haproxy.page("/health/readyx")[0] == 503
    assert {haproxy.page(path)[0] for path in ("/health/ready", "/health/live")} == {200}
    assert (haproxy.get(address=haproxy.blue)[:2], haproxy.get(address=haproxy.green)[:2]) == (
        (200, "blue"),
        (200, "green"),
    )
    assert not haproxy.move_door(CLOSED)["changed"]
    assert haproxy.move_door(Door(MAINTENANCE, retry_after=5))["changed"]
    assert haproxy.page()[1] == "5"
    # Behind it, what is live can be another one.
    assert haproxy.switch("green", "blue")["door"]["state"] == "maintenance"
    assert (haproxy.page()[0], haproxy.get("/health/ready")[1]) == (503, "green")
    assert haproxy.move_door(Door())["changed"]
    assert haproxy.get()[:2] == (200, "green")


def test_the_door_survives_a_kill_a_restart_and_reloads(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    for door in (CLOSED, HOLD, Door()):
        haproxy.move_door(door)
        haproxy.kill()
        assert haproxy.balancer().door() == door  # as it would begin
        haproxy.start()
        haproxy.await_up()
        assert (haproxy.balancer().door(), haproxy.move_door(door)["changed"]) == (door, False)
        haproxy.stop()
        haproxy.start()
        haproxy.await_up()
        haproxy.reload()
        assert (haproxy.balancer().door(), haproxy.move_door(door)["changed"]) == (door, False)
        if door == CLOSED:
            assert haproxy.page() == (503, "120", PAGE)
    assert haproxy.get()[:2] == (200, "blue")
    # A switch keeps the word for the door, and the other way round.
    haproxy.move_door(CLOSED)
    haproxy.switch("green", "blue")
    assert (haproxy.state / "haproxy.map").read_text() == "shop green\nshop.door maintenance:120\n"


def test_held_requests_wait_and_go_on_to_what_is_live_then_and_none_is_lost(
    haproxy: RunningHAProxy, tmp_path: Path
) -> None:
    haproxy.switch("blue", "none")
    with Witness(haproxy.url, tmp_path / "ledger", rate=50, posts=[("/orders", "{}")], connections=8) as witness:
        witness.wait_until_flowing()
        for old, new in (("blue", "green"), ("green", "blue")):
            result = haproxy.move_door(HOLD, drain=10.0)
            assert (result["changed"], result["draining"], result["door"]["state"]) == (True, {}, "held")
            asked = {key: len(backend.asked) for key, backend in haproxy.backends.items()}
            time.sleep(1)
            # Nobody but the health checks reaches a server meanwhile.
            for key, backend in haproxy.backends.items():
                assert set(backend.asked[asked[key] :]) <= {"/health/ready"}
            haproxy.switch(new, old)
            let_go = time.time()
            haproxy.move_door(Door())
            time.sleep(0.5)
        ledger = witness.stop()
    verdict = judge(ledger, expect_versions=["blue", "green"], max_silence=BUSY_SECONDS)
    assert verdict.ok, verdict.reasons
    assert not stale(ledger, old="green", since=let_go)
    assert max(record.end - record.start for record in ledger) >= 0.9


def test_a_request_that_is_held_for_too_long_gets_the_page(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    haproxy.move_door(Door(HELD, hold_limit=1, retry_after=7))
    began = time.monotonic()
    assert haproxy.page() == (503, "7", PAGE)
    assert 1 <= time.monotonic() - began < 5
    assert haproxy.get("/health/ready")[0] == 200
    haproxy.move_door(HOLD)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(haproxy.page)
        time.sleep(0.5)
        assert not held.done()
        haproxy.move_door(CLOSED)  # whoever waits gets the page then
        assert held.result(5) == (503, "120", PAGE)


def test_held_requests_go_on_through_a_reload(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    haproxy.move_door(HOLD)
    with ThreadPoolExecutor(4) as pool:
        held = [pool.submit(haproxy.get) for _ in range(4)]
        time.sleep(0.5)
        haproxy.reload()
        haproxy.switch("green", "blue")
        assert not any(one.done() for one in held)
        haproxy.move_door(Door())
        assert {one.result(10)[:2] for one in held} == {(200, "green")}


def test_a_client_that_an_old_worker_still_serves_finds_the_door_as_all_others_do(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    kept = [http.client.HTTPConnection(haproxy.public, timeout=10) for _ in range(6)]
    assert {ask(one)[0] for one in kept} == {200}
    haproxy.reload()
    assert len(Runtime(haproxy.master).workers()) == 2
    haproxy.move_door(CLOSED)
    assert [ask(kept.pop())[0] for _ in range(2)] == [503, 503]
    haproxy.move_door(Door())
    assert ask(kept.pop())[:2] == (200, "blue")
    # And one that closed before the reload lets them in again.
    haproxy.move_door(CLOSED)
    closed = http.client.HTTPConnection(haproxy.public, timeout=10)
    assert ask(closed)[0] == 503
    haproxy.reload()
    assert haproxy.balancer().door() == CLOSED
    haproxy.move_door(Door())
    assert ask(closed)[:2] == (200, "blue")
    for one in (closed, *kept):
        one.close()


def test_drain_waits_for_those_that_were_let_in_before(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(haproxy.get, "/held")
        haproxy.eventually(lambda: any(backend.held.is_set() for backend in haproxy.backends.values()))
        server = next(backend for backend in haproxy.backends.values() if backend.held.is_set())
        began = time.monotonic()
        assert haproxy.move_door(HOLD, drain=1.0)["draining"] == {server.address: 1}
        assert time.monotonic() - began >= 1
        threading.Timer(0.5, server.release.set).start()
        again = haproxy.move_door(HOLD, drain=10.0)
        assert (again["changed"], again["draining"]) == (False, {})
        assert under_way.result(5)[0] == 200


def test_an_older_lease_and_check_mode_move_no_door(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    before = {path: path.read_text() for path in haproxy.state.iterdir()}
    result = haproxy.move_door(CLOSED, token=3, check_mode=True)
    assert (result["changed"], result["door"]["state"]) == (True, "maintenance")
    assert {path: path.read_text() for path in haproxy.state.iterdir()} == before
    assert haproxy.get()[0] == 200
    haproxy.move_door(CLOSED, token=3)
    for check_mode in (True, False):
        with pytest.raises(BatonError, match="has seen lease 3"):
            haproxy.move_door(Door(), token=2, check_mode=check_mode)
    assert haproxy.page()[0] == 503


def test_what_a_configuration_cannot_do_is_refused_before_anything_is_touched(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    haproxy.configure(haproxy_hold=False)
    haproxy.reload()
    before = (haproxy.state / "haproxy.map").read_text()
    for check_mode in (True, False):
        with pytest.raises(BatonError, match=r"does not know how to hold requests.*haproxy_hold: true"):
            haproxy.move_door(HOLD, check_mode=check_mode)
    assert (haproxy.state / "haproxy.map").read_text() == before
    assert haproxy.move_door(CLOSED)["changed"]
    config = haproxy.directory / "haproxy.cfg"
    config.write_text(config.read_text().replace("server maintenance", "server other"))
    haproxy.reload()
    assert haproxy.balancer().door() == replace(CLOSED, unsettled="the running configuration lacks it")
    haproxy.move_door(Door())
    with pytest.raises(BatonError, match="does not know how to show a maintenance page"):
        haproxy.move_door(CLOSED)
    assert haproxy.get()[0] == 200


def test_a_dead_balancer_begins_with_the_door_that_it_got_meanwhile(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    for door, status in ((CLOSED, 503), (Door(), 200)):
        haproxy.kill()
        result = haproxy.move_door(door)
        assert (result["changed"], result["answering"], result["door"]["state"]) == (True, False, door.state)
        assert not haproxy.move_door(door)["changed"]
        haproxy.start()
        haproxy.await_up()
        assert (haproxy.get()[0], haproxy.balancer().door()) == (status, door)


def test_a_change_that_was_killed_in_the_middle_or_made_by_somebody_else_is_seen_and_mended(
    haproxy: RunningHAProxy,
) -> None:
    haproxy.switch("blue", "none")
    haproxy.move_door(Door())
    (haproxy.state / "haproxy.map").write_text("shop blue\nshop.door maintenance:120\n")
    assert haproxy.balancer().door() == Door(unsettled="maintenance:120 after a restart")
    result = haproxy.move_door(Door())
    assert result["changed"]
    assert "maintenance:120 after a restart" in result["diff"]["before"]
    assert haproxy.balancer().door() == Door()
    haproxy.move_door(CLOSED)
    told(haproxy, f"set map {haproxy.state}/haproxy.map shop.door ajar")
    assert haproxy.get()[0] == 503
    assert haproxy.observe()["live"] == "blue"
    assert "holds 'ajar', which somebody else wrote" in haproxy.balancer().door().unsettled
    assert haproxy.move_door(Door())["changed"]
    assert (haproxy.get()[0], haproxy.balancer().door()) == (200, Door())
