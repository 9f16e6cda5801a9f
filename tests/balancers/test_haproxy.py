# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The driver for HAProxy, with the real one: what is live, the seats, and what clients see meanwhile."""

from __future__ import annotations

import http.client
import os
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils import balancer_haproxy, haproxy_socket
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.haproxy_socket import Runtime

from tests.balancers.running import ask
from tests.balancers.running_haproxy import RunningHAProxy
from tests.witness.checker import judge, stale
from tests.witness.process import Witness

HOSTS = RunningHAProxy.hosts
SWITCHES = 20
BUSY_SECONDS = 10.0
"""The witness may be silent for so long where other tests keep both cores busy."""


def told(haproxy: RunningHAProxy, command: str) -> str:
    """Say something to the newest worker, as an operator would."""
    runtime = Runtime(haproxy.stats)
    return runtime.ask(runtime.workers()[0], command)


def files_of(haproxy: RunningHAProxy) -> dict[str, str]:
    return {
        str(path.relative_to(haproxy.state)): path.read_text() for path in haproxy.state.rglob("*") if path.is_file()
    }


def test_before_the_first_release_nothing_is_live_and_the_previews_answer(haproxy: RunningHAProxy) -> None:
    seen = haproxy.observe()
    assert (seen["live"], seen["answering"], seen["seats"]) == ("none", True, {})
    assert seen["pools"]["green"]["hosts"] == list(HOSTS)
    assert haproxy.get()[0] == 503
    assert (haproxy.get(address=haproxy.blue)[1], haproxy.get(address=haproxy.green)[1]) == ("blue", "green")


def test_switching_there_and_back_loses_nothing_and_leaves_nothing_stale(
    haproxy: RunningHAProxy, tmp_path: Path
) -> None:
    haproxy.switch("blue", "none")
    after: list[tuple[float, str]] = []
    with Witness(haproxy.url, tmp_path / "ledger", rate=50, posts=[("/orders", "{}")], connections=8) as witness:
        witness.wait_until_flowing()
        for number in range(SWITCHES):
            old, new = ("blue", "green") if number % 2 == 0 else ("green", "blue")
            assert haproxy.switch(new, old)["changed"]
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


def test_a_value_that_nobody_knows_is_answered_with_503_and_not_by_a_slot(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    told(haproxy, f"set map {haproxy.state}/haproxy.map shop yellow")
    assert haproxy.get()[0] == 503
    with pytest.raises(BatonError, match="holds 'yellow'"):
        haproxy.observe()


def test_a_client_that_an_old_worker_still_serves_reaches_the_new_slot(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    kept = http.client.HTTPConnection(haproxy.public, timeout=10)
    assert ask(kept)[1] == "blue"
    haproxy.reload()
    assert len(Runtime(haproxy.master).workers()) == 2
    haproxy.switch("green", "blue")
    assert (ask(kept)[1], haproxy.get()[1]) == ("green", "green")
    kept.close()


def test_through_a_stats_socket_an_old_worker_keeps_its_slot_and_the_result_warns(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    # After a reload each answer is the last one on its connection.
    kept, other = (http.client.HTTPConnection(haproxy.public, timeout=10) for _ in range(2))
    assert (ask(kept)[1], ask(other)[1]) == ("blue", "blue")
    haproxy.reload()
    haproxy.switch("green", "blue", driver=haproxy.balancer(haproxy.stats))
    assert (ask(kept)[1], haproxy.get()[1]) == ("blue", "green")
    assert "newest worker" in haproxy.balancer(haproxy.stats).warnings()[0]
    assert haproxy.balancer().warnings() == []
    # The master knows both, and the same command again is a change.
    assert haproxy.switch("green")["changed"]
    assert not haproxy.switch("green")["changed"]
    assert ask(other)[1] == "green"


def test_a_client_that_an_old_worker_still_serves_follows_the_seats(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    haproxy.switch("mixed", "blue", seats={"app1": "out"}, min_up=1)
    kept = [http.client.HTTPConnection(haproxy.public, timeout=10) for _ in range(4)]
    assert {ask(one)[1:] for one in kept} == {("blue", "app2")}
    haproxy.reload()
    haproxy.switch("mixed", "mixed", seats={"app1": "green"})
    haproxy.switch("mixed", "mixed", seats={"app2": "out"}, min_up=1)
    assert {ask(one)[1:] for one in kept} == {("green", "app1")}


def test_after_a_reload_that_failed_the_worker_that_still_listens_is_switched(
    haproxy: RunningHAProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(haproxy_socket, "RELOAD_SECONDS", 0.5)
    haproxy.switch("blue", "none")
    (haproxy.directory / "haproxy.cfg").write_text("nonsense\n")
    haproxy.signal_reload()
    haproxy.eventually(lambda: "failed: 1" in haproxy.processes())
    haproxy.switch("mixed", "blue", seats={"app1": "green"})
    assert haproxy.served() == {("green", "app1"), ("blue", "app2")}
    haproxy.switch("green", "mixed")
    assert haproxy.get()[1] == "green"


def test_reloads_between_switches_lose_nothing(haproxy: RunningHAProxy, tmp_path: Path) -> None:
    haproxy.switch("blue", "none")
    live = "blue"
    with Witness(haproxy.url, tmp_path / "ledger", rate=50, connections=8) as witness:
        witness.wait_until_flowing()
        for new in ("green", "blue", "green"):
            haproxy.reload()
            haproxy.switch(new, live)
            live = new
            told_at = time.time()
            time.sleep(0.5)
            assert haproxy.served(4) == {(live, host) for host in HOSTS}
        ledger = witness.stop()
    assert judge(ledger, expect_versions=["blue", "green"], max_silence=BUSY_SECONDS).ok
    assert not stale(ledger, old="blue", since=told_at)


def test_what_is_live_and_the_seats_survive_a_kill_and_a_reload(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    haproxy.switch("mixed", "blue", seats={"app1": "green"})
    wanted = {("green", "app1"), ("blue", "app2")}
    assert haproxy.served() == wanted
    haproxy.kill()
    while_dead = haproxy.balancer().routing({})
    assert (while_dead.live, while_dead.seats) == ("mixed", {"app1": "green", "app2": "blue"})
    haproxy.start()
    haproxy.await_up()
    assert haproxy.served() == wanted
    assert haproxy.observe()["seats"] == {"app1": "green", "app2": "blue"}
    haproxy.reload()
    assert haproxy.served() == wanted
    assert not haproxy.switch("mixed", "mixed", seats={"app1": "green"})["changed"]
    haproxy.switch("green", "mixed")
    haproxy.kill()
    haproxy.start()
    haproxy.await_up()
    assert {slot for slot, _host in haproxy.served()} == {"green"}


def test_seats_change_host_by_host_and_one_that_is_out_gets_nothing(haproxy: RunningHAProxy, tmp_path: Path) -> None:
    haproxy.switch("blue", "none")
    with Witness(haproxy.url, tmp_path / "ledger", rate=50, connections=8) as witness:
        witness.wait_until_flowing()
        result = haproxy.switch("mixed", "blue", seats={"app1": "out"}, min_up=1, drain=5)
        assert (result["seats"], result["draining"]) == ({"app1": "out", "app2": "blue"}, {})
        assert haproxy.served() == {("blue", "app2")}
        haproxy.switch("mixed", "mixed", seats={"app1": "green"}, drain=5)
        haproxy.switch("mixed", "mixed", seats={"app2": "green"}, drain=5)
        haproxy.switch("green", "mixed")
        ledger = witness.stop()
    assert judge(ledger, expect_versions=["blue", "green"], max_silence=BUSY_SECONDS).ok
    with pytest.raises(BatonError, match="every app host would be out"):
        haproxy.switch("mixed", "green", seats=dict.fromkeys(HOSTS, "out"), min_up=0)


def test_a_port_that_was_changed_is_believed_rather_than_the_file_with_the_seats(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    haproxy.switch("mixed", "blue", seats={"app1": "green"})
    old, new = haproxy.backends["app1", "green"], type(haproxy.backends["app1", "green"])("app1", "green")
    haproxy.backends["app1", "green"] = new
    haproxy.configure()
    haproxy.kill()
    old.close()
    haproxy.start()
    haproxy.await_up()
    servers = haproxy.balancer().pools()
    assert servers is not None
    assert servers["green"]["servers"][0] == new.address
    assert ("green", "app1") in haproxy.served()
    # Nobody has said which of app1's servers has the seat, so the next change says it again.
    haproxy.switch("mixed", "mixed", seats={"app1": "green"})
    assert haproxy.served() == {("green", "app1"), ("blue", "app2")}


def test_a_change_that_was_killed_in_the_middle_is_finished_by_the_next_one(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    (haproxy.state / "haproxy.map").write_text("shop green\n")
    routing = haproxy.balancer().routing({})
    assert (routing.live, routing.unsettled) == ("blue", "green after a restart")
    result = haproxy.switch("blue", "blue")
    assert result["changed"]
    assert "green after a restart" in result["diff"]["before"]
    assert (haproxy.state / "haproxy.map").read_text() == "shop blue\n"
    assert not haproxy.switch("blue", "blue")["changed"]


def test_seats_that_an_operator_has_changed_are_put_right_by_the_next_change(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    haproxy.switch("mixed", "blue", seats={"app1": "green"})
    name = f"app1_blue_{haproxy.backends['app1', 'blue'].address.partition(':')[2]}"
    told(haproxy, f"set server shop_mixed/{name} state ready")
    assert "app1 answers from both slots" in haproxy.balancer().routing({}).unsettled
    assert haproxy.switch("mixed", "mixed", seats={"app1": "green"})["changed"]
    assert haproxy.served() == {("green", "app1"), ("blue", "app2")}


def test_another_live_slot_than_expected_is_refused(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    before = files_of(haproxy)
    with pytest.raises(BatonError, match="blue is live") as caught:
        haproxy.switch("green", "none")
    assert caught.value.details["live"] == "blue"
    assert files_of(haproxy) == before
    assert haproxy.get()[1] == "blue"


def test_a_server_that_is_down_drained_or_in_maintenance_is_not_up(haproxy: RunningHAProxy) -> None:
    haproxy.backends["app1", "green"].healthy = False
    haproxy.eventually(lambda: len(haproxy.observe()["pools"]["green"]["up"]) == 1)
    server = f"shop_blue/app1_{haproxy.backends['app1', 'blue'].address.partition(':')[2]}"
    for state in ("maint", "drain"):
        told(haproxy, f"set server {server} state {state}")
        assert haproxy.observe()["pools"]["blue"]["up"] == [haproxy.backends["app2", "blue"].address]
        with pytest.raises(BatonError, match="nothing was switched"):
            haproxy.switch("blue", "none", wait=0)
    assert haproxy.switch("blue", "none", min_up=1)["changed"]
    # Its own "UP 1/3" at the end of maintenance is no proof.
    haproxy.backends["app1", "blue"].healthy = False
    told(haproxy, f"set server {server} state maint")
    told(haproxy, f"set server {server} state ready")
    for _ in range(20):
        assert haproxy.observe()["pools"]["blue"]["up"] == [haproxy.backends["app2", "blue"].address]
        time.sleep(0.1)


def test_drain_waits_for_a_request_also_at_an_old_worker_and_counts_what_is_left(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    held = haproxy.backends["app1", "blue"]
    answers: list[tuple[int, str, str]] = []

    def hold() -> None:
        while not held.held.is_set():
            answers.append(haproxy.get("/held"))

    for host in HOSTS[1:]:
        haproxy.backends[host, "blue"].release.set()
    client = threading.Thread(target=hold)
    client.start()
    assert held.held.wait(20)
    haproxy.reload()
    assert haproxy.observe()["pools"]["blue"]["in_flight"][held.address] == 1
    began = time.monotonic()
    result = haproxy.switch("mixed", "blue", seats={"app1": "green"}, drain=1)
    assert time.monotonic() - began >= 1
    assert result["draining"] == {held.address: 1}
    threading.Timer(0.5, held.release.set).start()
    result = haproxy.switch("mixed", "mixed", seats={"app1": "out"}, min_up=1, drain=10)
    assert result["draining"] == {}
    client.join()
    assert answers[-1] == (200, "blue", "app1")


def test_check_mode_changes_nothing(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    before, seats = files_of(haproxy), told(haproxy, "show servers state shop_mixed")
    result = haproxy.switch("green", "blue", check_mode=True)
    assert (result["changed"], result["live"]) == (True, "green")
    haproxy.switch("mixed", "blue", seats={"app1": "green"}, check_mode=True)
    assert files_of(haproxy) == before
    assert [line.split()[6] for line in told(haproxy, "show servers state shop_mixed").splitlines()[2:] if line] == [
        line.split()[6] for line in seats.splitlines()[2:] if line
    ]
    assert haproxy.get()[1] == "blue"


def test_a_balancer_that_is_dead_is_known_by_its_files_and_a_switch_fails(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    haproxy.kill()
    seen = haproxy.observe()
    assert (seen["answering"], seen["live"]) == (False, "blue")
    with pytest.raises(BatonError, match="does not answer"):
        haproxy.switch("green", "blue", wait=0)
    began = time.monotonic()
    assert haproxy.observe()["live"] == "blue"
    # Who was silent for as long as a reload may take is not waited for each time that it is asked.
    assert time.monotonic() - began < haproxy_socket.RELOAD_SECONDS
    # In an emergency it at least begins with the right slot, and the run still fails.
    with pytest.raises(BatonError, match="begins with green when it is started"):
        haproxy.switch("green", min_up=0)
    haproxy.start()
    haproxy.await_up()
    assert haproxy.get()[1] == "green"


def test_a_socket_that_is_not_there_and_one_without_the_map(haproxy: RunningHAProxy) -> None:
    assert haproxy.balancer(haproxy.directory / "none").pools() is None
    other = balancer_haproxy.HAProxy(haproxy.master, "shop", haproxy.directory)
    with pytest.raises(BatonError, match=r"without the map .*haproxy\.map"):
        other.routing({})
    assert balancer_haproxy.HAProxy(haproxy.master, "books", haproxy.state).pools() is None


def test_a_socket_of_too_low_a_level_is_named(haproxy: RunningHAProxy) -> None:
    config = haproxy.directory / "haproxy.cfg"
    haproxy.switch("blue", "none")
    config.write_text(config.read_text().replace("level admin", "level operator"))
    haproxy.reload()
    with pytest.raises(BatonError, match="socket of level admin"):
        haproxy.switch("mixed", "blue", seats={"app1": "green"}, driver=haproxy.balancer(haproxy.stats))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not use the socket")
def test_a_socket_that_one_may_not_use_is_named(haproxy: RunningHAProxy) -> None:
    haproxy.master.chmod(0o600)
    for parent in (haproxy.directory, *haproxy.directory.parents[:3]):
        parent.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(BatonError, match="may not be used by this user"):
            haproxy.balancer().pools()
    finally:
        os.seteuid(0)
