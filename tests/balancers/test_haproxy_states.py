# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The servers of the real HAProxy one by one: ready, drained, in maintenance; over kills and reloads, idle, busy and dead."""

from __future__ import annotations

import http.client
import socket
import time
import typing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.balancers import stateful_balancer
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.haproxy_socket import Runtime
from ansible_collections.baton.release.plugins.module_utils.server_change import WantedStates, put_states

from tests.balancers.running import ask
from tests.balancers.running_haproxy import RunningHAProxy
from tests.witness.checker import judge
from tests.witness.process import Witness

BUSY_SECONDS = 10.0
KEY = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
READY = {"app1": "ready", "app2": "ready"}


def put(
    haproxy: RunningHAProxy, states: dict[str, str], slot: str = "blue", **more: typing.Any
) -> dict[str, typing.Any]:
    """Put servers into other states."""
    named = {name: more.pop(name) for name in ("min_up", "wait", "drain", "reasons") if name in more}
    wanted = WantedStates(slot, states, health_path="/health/ready", **named)
    return put_states(haproxy.balancer(), wanted, state_dir=haproxy.state, **{"token": None, **more})


def states(haproxy: RunningHAProxy) -> dict[str, str]:
    """Return the states in blue as HAProxy itself says them."""
    runtime = Runtime(haproxy.stats)
    lines = runtime.ask(runtime.workers()[0], "show servers state shop_blue").splitlines()
    rows = [line.split() for line in lines if line[:1].isdigit() and " " in line]
    return {words[3].partition("_")[0]: {"0": "ready", "8": "drain", "1": "maint"}[words[6]] for words in rows}


@pytest.mark.parametrize("state", ["drain", "maint"])
def test_a_server_that_is_out_gets_nothing_and_comes_back_and_nobody_notices(
    haproxy: RunningHAProxy, tmp_path: Path, state: str
) -> None:
    haproxy.switch("blue", "none")
    assert haproxy.observe()["server_states"] == {"blue": READY, "green": READY}
    with Witness(haproxy.url, tmp_path / "ledger", rate=50, posts=[("/orders", "{}")], connections=8) as witness:
        witness.wait_until_flowing()
        for _again in range(3):
            result = put(haproxy, {"app1": state}, drain=5.0)
            assert (result["changed"], result["draining"]) == (True, {})
            assert result["server_states"] == {"blue": {"app1": state, "app2": "ready"}, "green": READY}
            assert result["diff"] == {"before": "app1=ready app2=ready\n", "after": f"app1={state} app2=ready\n"}
            assert states(haproxy) == {"app1": state, "app2": "ready"}
            assert haproxy.served() == {("blue", "app2")}
            assert not put(haproxy, {"app1": state})["changed"]
            result = put(haproxy, {"app1": "ready"})
            assert len(result["pools"]["blue"]["up"]) == 2
            assert haproxy.served() == {("blue", "app1"), ("blue", "app2")}
        ledger = witness.stop()
    verdict = judge(ledger, expect_versions=["blue"], max_silence=BUSY_SECONDS)
    assert verdict.ok, verdict.reasons


def test_the_states_survive_a_kill_a_restart_and_a_reload_and_are_checked_again(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    put(haproxy, {"app1": "maint"})
    put(haproxy, {"app2": "drain"}, slot="green")
    for again in (haproxy.kill, haproxy.stop):
        again()
        haproxy.start()
        haproxy.eventually(lambda: len(haproxy.observe()["pools"]["blue"]["up"]) == 1)
        haproxy.reload()
        assert haproxy.observe()["server_states"] == {
            "blue": {"app1": "maint", "app2": "ready"},
            "green": {"app1": "ready", "app2": "drain"},
        }
        assert not put(haproxy, {"app1": "maint"})["changed"]
        assert haproxy.served() == {("blue", "app2")}
    put(haproxy, {"app2": "ready"}, slot="green")
    put(haproxy, {"app1": "ready"})
    # What came back from the file is asked for its health as the others are.
    for host, slot in (("app1", "blue"), ("app2", "green")):
        haproxy.backends[host, slot].healthy = False
        address = haproxy.backends[host, slot].address
        haproxy.eventually(lambda: address not in haproxy.observe()["pools"][slot]["up"])  # noqa: B023 - called at once
    haproxy.kill()
    haproxy.start()
    haproxy.eventually(lambda: len(haproxy.observe()["pools"]["blue"]["up"]) == 1)
    assert haproxy.observe()["server_states"]["blue"] == READY


def test_a_busy_server_is_waited_for_until_the_deadline_and_what_is_left_is_counted(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    busy = haproxy.backends["app1", "blue"]
    haproxy.backends["app2", "blue"].release.set()
    with (
        ThreadPoolExecutor(1) as pool,
        socket.create_connection(("127.0.0.1", int(haproxy.public.split(":")[1]))) as chat,
    ):
        put(haproxy, {"app2": "drain"})  # so that both reach app1
        chat.sendall(b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + KEY)
        assert b"101" in chat.recv(1000)
        download = pool.submit(haproxy.get, "/slow")
        haproxy.eventually(lambda: haproxy.observe()["pools"]["blue"]["in_flight"][busy.address] == 2)
        put(haproxy, {"app2": "ready"})
        began = time.monotonic()
        result = put(haproxy, {"app1": "drain"}, drain=1.0)
        assert (result["draining"], time.monotonic() - began >= 1) == ({busy.address: 2}, True)
        busy.release.set()
        assert download.result(10)[0] == 200
        again = put(haproxy, {"app1": "drain"}, drain=0.5)
        assert (again["changed"], again["draining"]) == (False, {busy.address: 1})
        chat.sendall(b"still there")  # nothing was cut
        assert chat.recv(100) == b"still there"
    assert put(haproxy, {"app1": "drain"}, drain=5.0)["draining"] == {}


def test_a_dead_server_is_taken_out_and_comes_back_only_when_it_is_healthy(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    dead = haproxy.backends["app1", "blue"]
    dead.healthy = False
    haproxy.eventually(lambda: dead.address not in haproxy.observe()["pools"]["blue"]["up"])
    for state in ("drain", "maint"):
        assert put(haproxy, {"app1": state}, drain=5.0)["changed"]
        with pytest.raises(BatonError, match=r"asked for /health/ready, .*: status 503.*nothing was changed"):
            put(haproxy, {"app1": "ready"}, wait=0.0)
        assert states(haproxy)["app1"] == state
    assert put(haproxy, {"app1": "ready"}, min_up=0)["changed"]  # unless nothing is asked
    assert not put(haproxy, {"app1": "ready"}, wait=0.0)["changed"]  # as it is: dead or not
    put(haproxy, {"app1": "maint"})
    dead.healthy = True
    began = time.monotonic()
    result = put(haproxy, {"app1": "ready"})
    assert dead.address in result["pools"]["blue"]["up"]
    assert time.monotonic() - began < 10


def test_the_last_servers_that_are_up_are_not_taken_out(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    with pytest.raises(BatonError, match="no server of 2 that serve in blue would be left up"):
        put(haproxy, {"app1": "drain", "app2": "maint"}, wait=0.0)
    assert states(haproxy) == READY
    with pytest.raises(BatonError, match=r"of 2 that serve in blue would be left up.*at least 2"):
        put(haproxy, {"app1": "drain"}, min_up=2, wait=0.0)
    haproxy.backends["app2", "blue"].healthy = False
    haproxy.eventually(lambda: len(haproxy.observe()["pools"]["blue"]["up"]) == 1)
    with pytest.raises(BatonError, match="no server of 2"):
        put(haproxy, {"app1": "drain"}, wait=0.0)
    # The idle slot serves nobody; and an emergency asks nothing.
    assert put(haproxy, {"app1": "drain", "app2": "drain"}, slot="green")["changed"]
    assert put(haproxy, {"app1": "drain"}, min_up=0)["changed"]


def test_while_a_share_or_the_seats_decide_they_are_what_must_be_left(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    haproxy.switch("green", "blue", share=25)
    with pytest.raises(BatonError, match="no server of 2 that serve in green"):
        put(haproxy, {"app1": "drain", "app2": "drain"}, slot="green", wait=0.0)
    haproxy.switch("blue", "blue")
    haproxy.switch("mixed", "blue", seats={"app1": "green"})
    assert put(haproxy, {"app1": "drain"}, slot="green")["changed"]
    # The seat leads to that server, so it gets nothing either.
    assert haproxy.served() == {("blue", "app2")}
    assert haproxy.observe()["seats"] == {"app1": "green", "app2": "blue"}
    with pytest.raises(BatonError, match="no server of 2 that serve in mixed"):
        put(haproxy, {"app2": "maint"}, wait=0.0)
    haproxy.kill()
    haproxy.start()
    haproxy.eventually(lambda: haproxy.served() == {("blue", "app2")})


def test_a_client_that_an_old_worker_still_serves_follows(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    kept = [http.client.HTTPConnection(haproxy.public, timeout=10) for _ in range(6)]
    assert {ask(one)[2] for one in kept} == {"app1", "app2"}
    haproxy.reload()
    assert put(haproxy, {"app1": "drain"})["changed"]
    assert {ask(one)[2] for one in kept} == {"app2"}
    assert not put(haproxy, {"app1": "drain"})["changed"]


def test_a_drained_server_does_not_count_as_up_for_a_switch(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    put(haproxy, {"app1": "drain"}, slot="green")
    with pytest.raises(BatonError, match="at least 2 servers up"):
        haproxy.switch("green", "blue", wait=0)
    assert haproxy.switch("green", "blue", min_up=1)["changed"]
    assert haproxy.served() == {("green", "app2")}


def test_an_older_lease_check_mode_and_strangers_change_nothing(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    before = sorted(haproxy.state.iterdir())
    result = put(haproxy, {"app1": "drain"}, token=3, check_mode=True)
    assert (result["changed"], result["server_states"]["blue"]["app1"]) == (True, "drain")
    assert (sorted(haproxy.state.iterdir()), states(haproxy)) == (before, READY)
    put(haproxy, {"app1": "drain"}, token=3)
    for check_mode in (True, False):
        with pytest.raises(BatonError, match="has seen lease 3"):
            put(haproxy, {"app1": "ready"}, token=2, check_mode=check_mode)
        with pytest.raises(BatonError, match="has servers of app1, app2, none of app9"):
            put(haproxy, {"app1": "ready", "app9": "drain"}, check_mode=check_mode)
    assert states(haproxy)["app1"] == "drain"


def test_a_configuration_that_would_forget_them_is_refused(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    config = haproxy.directory / "haproxy.cfg"
    config.write_text(config.read_text().replace("server states", "server other"))
    haproxy.reload()
    with pytest.raises(BatonError, match=r"does not keep the states of servers.*nothing was touched"):
        put(haproxy, {"app1": "drain"}, check_mode=True)
    with pytest.raises(BatonError, match=r"does not keep the states of servers.*nothing was touched"):
        put(haproxy, {"app1": "drain"})
    assert (states(haproxy), (haproxy.state / "haproxy.blue").exists()) == (READY, False)


def test_a_dead_balancer_changes_no_states_and_what_an_operator_did_is_mended(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    put(haproxy, {"app1": "drain"})
    (haproxy.state / "haproxy.blue").write_text("1\n")
    assert "after a restart" in haproxy.balancer().unsettled_states("blue")
    result = put(haproxy, {"app1": "drain"})
    assert (result["changed"], "after a restart" in result["diff"]["before"]) == (True, True)
    assert haproxy.balancer().unsettled_states("blue") == ""
    haproxy.kill()
    assert haproxy.observe()["server_states"] == {}
    with pytest.raises(BatonError, match="the load balancer does not answer"):
        put(haproxy, {"app1": "ready"})


def test_a_port_that_was_changed_is_believed_rather_than_the_file(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    put(haproxy, {"app1": "drain"})
    old, new = haproxy.backends["app1", "blue"], type(haproxy.backends["app1", "blue"])("app1", "blue")
    haproxy.backends["app1", "blue"] = new
    haproxy.configure()
    haproxy.kill()
    old.close()
    haproxy.start()
    haproxy.await_up()
    assert haproxy.served() == {("blue", "app1"), ("blue", "app2")}
    assert haproxy.observe()["pools"]["blue"]["servers"][0] == new.address


@pytest.mark.parametrize("driver", ["caddy", "nginx"])
def test_a_driver_without_states_is_refused(driver: str) -> None:
    with pytest.raises(
        BatonError, match=f"driver {driver}, which cannot put one server .*haproxy.*nothing was touched"
    ):
        stateful_balancer({"driver": driver})


def test_the_reason_for_which_a_host_is_excluded_is_told_until_somebody_else_decides(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    why = {"app1": "its disk is broken"}
    nobody: dict[str, dict[str, str]] = {"blue": {}, "green": {}}
    assert haproxy.observe()["excluded"] == nobody
    dry = put(haproxy, {"app1": "maint"}, reasons=why, check_mode=True)
    assert (dry["changed"], haproxy.observe()["excluded"]) == (True, nobody)
    result = put(haproxy, {"app1": "maint"}, reasons=why)
    assert (result["changed"], result["excluded"]) == (True, {"blue": why, "green": {}})
    assert result["diff"]["after"] == "app1=maint (its disk is broken) app2=ready\n"
    assert not put(haproxy, {"app1": "maint"}, reasons=why)["changed"]
    haproxy.kill()
    haproxy.start()
    assert haproxy.observe()["excluded"] == {"blue": why, "green": {}}
    # Another host that changes leaves it alone, and other words are a change.
    put(haproxy, {"app2": "drain"}, min_up=0)
    assert put(haproxy, {"app1": "maint"}, reasons={"app1": "sold"})["changed"]
    assert haproxy.observe()["excluded"]["blue"] == {"app1": "sold"}
    # Whoever takes it out by hand, or brings it back, is the one who decides then.
    assert put(haproxy, {"app1": "maint"})["changed"]
    assert haproxy.observe()["excluded"] == nobody
    put(haproxy, {"app1": "maint"}, reasons=why)
    put(haproxy, {"app1": "ready"}, min_up=0)
    assert (haproxy.observe()["excluded"], states(haproxy)["app1"]) == (nobody, "ready")


def test_a_note_without_maintenance_counts_for_nothing(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    put(haproxy, {"app1": "maint"}, reasons={"app1": "its disk is broken"})
    Runtime(haproxy.stats).do(
        Runtime(haproxy.stats).workers()[0], "set server shop_blue/" + _name(haproxy) + " state ready"
    )
    assert haproxy.observe()["excluded"] == {"blue": {}, "green": {}}


def _name(haproxy: RunningHAProxy) -> str:
    return f"app1_{haproxy.servers['app1']['blue'].rpartition(':')[2]}"
