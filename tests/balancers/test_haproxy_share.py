# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Shares of the clients with the real HAProxy: how many reach the new slot, who stays there, and that nobody notices the change."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.access_log_haproxy import HAProxyRing
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.haproxy_socket import Runtime

from tests.balancers.clients import COOKIE, Client, Crowd, near
from tests.balancers.running import ask
from tests.balancers.running_haproxy import RunningHAProxy
from tests.witness.checker import judge
from tests.witness.process import Witness

HOSTS = RunningHAProxy.hosts
CLIENTS = 400
BUSY_SECONDS = 10.0


def test_the_share_grows_and_nobody_moves_back_until_all_are_there(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    crowd = Crowd(haproxy.public, CLIENTS)
    assert set(crowd.ask()) == {"blue"}
    assert {client.cookie for client in crowd.clients} == {""}  # none is set without a share
    for share in (5, 25, 50):
        result = haproxy.switch("green", "blue", share=share)
        assert (result["changed"], result["live"], result["share"]) == (True, "blue", share)
        assert not haproxy.switch("green", "blue", share=share)["changed"]
        for _again in range(2):
            assert near(crowd.ask().count("green"), share, CLIENTS)
    assert (haproxy.observe()["live"], haproxy.observe()["share"]) == ("blue", 50)
    assert haproxy.switch("green", "blue")["live"] == "green"
    assert set(crowd.ask()) == {"green"}
    assert not crowd.moved_back("blue")
    assert not crowd.failures()
    some = next(client for client in crowd.clients if client.cookie)
    assert some.attributes == {"Path=/", "HttpOnly", "SameSite=Lax"}
    assert haproxy.observe()["share"] == 0


def test_taken_back_at_once_the_share_reaches_nobody(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    haproxy.switch("green", "blue", share=50)
    crowd = Crowd(haproxy.public, 40)
    assert set(crowd.ask()) == {"blue", "green"}
    assert haproxy.switch("green", "blue", share=0)["share"] == 0
    assert set(crowd.ask()) == {"blue"}
    haproxy.switch("green", "blue", share=50)
    # The way back, without a word about what is expected.
    result = haproxy.switch("blue")
    assert (result["changed"], result["live"], result["share"]) == (True, "blue", 0)
    assert set(crowd.ask()) == {"blue"}


def test_a_client_without_cookies_draws_at_each_request(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    haproxy.switch("green", "blue", share=25)
    answers = [Client(haproxy.public).ask() for _ in range(CLIENTS)]
    assert near(answers.count("green"), 25, CLIENTS)


@pytest.mark.parametrize("number", ["100", "-1", "abc", "07x", ""])
def test_a_cookie_that_holds_no_such_number_is_replaced(haproxy: RunningHAProxy, number: str) -> None:
    haproxy.switch("blue", "none")
    haproxy.switch("green", "blue", share=1)
    seen = set()
    for _ in range(20):
        client = Client(haproxy.public)
        client.cookie = f"{COOKIE}={number}"
        seen.add(client.ask())
        assert client.cookie.partition("=")[2].isdecimal()
        assert client.cookie != f"{COOKIE}={number}"
    assert "blue" in seen


def test_a_share_survives_a_kill_and_a_reload(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    haproxy.switch("green", "blue", share=25)
    crowd = Crowd(haproxy.public, 100)
    before = crowd.ask()
    assert set(before) == {"blue", "green"}
    haproxy.kill()
    routing = haproxy.balancer().routing({})
    assert (routing.live, routing.share) == ("blue", 25)
    haproxy.start()
    haproxy.await_up()
    assert crowd.ask() == before
    haproxy.reload()
    assert crowd.ask() == before
    assert (haproxy.observe()["share"], haproxy.switch("green", "blue", share=25)["changed"]) == (25, False)


def test_an_old_worker_follows_the_share(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    kept = [http.client.HTTPConnection(haproxy.public, timeout=10) for _ in range(4)]
    assert {ask(one)[1] for one in kept} == {"blue"}
    haproxy.reload()
    assert len(Runtime(haproxy.master).workers()) > 1
    haproxy.switch("green", "blue", share=99)
    for one in kept:
        one.request("GET", "/", headers={"Cookie": f"{COOKIE}=98"})
        answer = one.getresponse()
        answer.read()
        assert answer.getheader("X-Slot") == "green"


def test_no_request_is_lost_while_the_share_changes(haproxy: RunningHAProxy, tmp_path: Path) -> None:
    haproxy.switch("blue", "none")
    with Witness(haproxy.url, tmp_path / "ledger", rate=50, posts=[("/orders", "{}")], connections=8) as witness:
        witness.wait_until_flowing()
        for share in (5, 25, 0, 50, 99, 100):
            haproxy.switch("green", "blue", share=share)
            time.sleep(0.5)
        haproxy.reload()
        for share in (10, 0, 100):
            haproxy.switch("blue", "green", share=share)
            time.sleep(0.3)
        ledger = witness.stop()
    verdict = judge(ledger, expect_versions=["blue", "green"], max_silence=BUSY_SECONDS)
    assert verdict.ok, verdict.reasons


def test_both_pools_must_be_up_for_a_share(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    haproxy.backends["app1", "blue"].healthy = False
    haproxy.eventually(lambda: len(haproxy.observe()["pools"]["blue"]["up"]) == 1)
    with pytest.raises(BatonError, match="that would serve in blue"):
        haproxy.switch("green", "blue", share=5, wait=0)
    assert haproxy.switch("green", "blue", share=5, min_up=1)["changed"]
    # Going back asks the slot that all clients reach then, and no other one.
    haproxy.backends["app1", "green"].healthy = haproxy.backends["app2", "green"].healthy = False
    haproxy.eventually(lambda: haproxy.observe()["pools"]["green"]["up"] == [])
    with pytest.raises(BatonError, match="that would serve in green") as refusal:
        haproxy.switch("green", "blue", share=25, min_up=1, wait=0)
    assert (refusal.value.details["live"], refusal.value.details["share"]) == ("blue", 5)
    assert haproxy.switch("green", "blue", share=0, min_up=1, wait=0)["share"] == 0


def test_requests_in_flight_are_counted_in_both_slots(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    haproxy.switch("green", "blue", share=50)

    def hold(number: int) -> None:
        connection = http.client.HTTPConnection(haproxy.public, timeout=30)
        connection.request("GET", "/held", headers={"Cookie": f"{COOKIE}={number}"})
        connection.getresponse().read()
        connection.close()

    threads = [threading.Thread(target=hold, args=(number,)) for number in (0, 99)]
    for thread in threads:
        thread.start()

    def held() -> dict[str, int]:
        pools = haproxy.observe()["pools"]
        return {slot: sum(pools[slot]["in_flight"].values()) for slot in ("blue", "green")}

    haproxy.eventually(lambda: held() == {"blue": 1, "green": 1})
    for backend in haproxy.backends.values():
        backend.release.set()
    for thread in threads:
        thread.join()
    haproxy.eventually(lambda: held() == {"blue": 0, "green": 0})


def test_the_watch_sees_each_request_in_the_slot_that_answered_it(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    haproxy.switch("green", "blue", share=50)
    log = HAProxyRing(haproxy.master, cursor=None, match={"entry": "public"}, own_agent="")
    answered = Counter(Crowd(haproxy.public, 60).ask())
    assert set(answered) == {"blue", "green"}
    seen: Counter[str | None] = Counter()

    def complete() -> bool:
        seen.update(request.slot for request in log.read())
        return sum(seen.values()) >= sum(answered.values())

    haproxy.eventually(complete)
    assert seen == answered


def test_a_rolling_update_never_begins_beside_a_share(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    haproxy.switch("green", "blue", share=25)
    with pytest.raises(BatonError, match="25 % of the clients reach green"):
        haproxy.switch("mixed", "blue", seats={HOSTS[0]: "green"})
    assert (haproxy.observe()["live"], haproxy.observe()["share"]) == ("blue", 25)


def test_a_share_of_the_slot_that_is_live_is_refused(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    with pytest.raises(BatonError, match=r"blue is live.*green, so that 25 % of the clients can reach blue"):
        haproxy.switch("blue", share=25)


def test_a_configuration_from_before_shares_is_refused_one_and_serves_on(haproxy: RunningHAProxy) -> None:
    haproxy.switch("blue", "none")
    config = haproxy.directory / "haproxy.cfg"
    config.write_text(config.read_text().replace("shop_shares", "shop_other"))
    haproxy.reload()
    with pytest.raises(BatonError, match="knows no shares"):
        haproxy.switch("green", "blue", share=25)
    assert (haproxy.get()[1], (haproxy.state / "haproxy.map").read_text()) == ("blue", "shop blue\n")
    assert haproxy.switch("green", "blue")["changed"]


def test_a_change_of_the_share_that_was_killed_in_the_middle_is_finished_by_the_next_one(
    haproxy: RunningHAProxy,
) -> None:
    haproxy.switch("blue", "none")
    (haproxy.state / "haproxy.map").write_text("shop blue:green:25\n")
    assert haproxy.balancer().routing({}).unsettled == "blue:green:25 after a restart"
    assert haproxy.switch("blue", "blue")["changed"]
    assert (haproxy.state / "haproxy.map").read_text() == "shop blue\n"
    (haproxy.state / "haproxy.map").write_text("shop blue:blue:25\n")
    haproxy.kill()
    with pytest.raises(BatonError, match="holds 'blue:blue:25'"):
        haproxy.balancer().routing({})
