# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Shares of the clients with the real nginx: how many reach the new slot, who stays there, and that nobody notices the change."""

from __future__ import annotations

import http.client
import threading
import time
import typing
from collections import Counter
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils import nginx_links
from ansible_collections.baton.release.plugins.module_utils.access_log_nginx import NginxAccessLog
from ansible_collections.baton.release.plugins.module_utils.door import Door
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.links import replace_link
from ansible_collections.baton.release.plugins.module_utils.nginx_links import NginxLinks
from ansible_collections.baton.release.plugins.module_utils.routing import Routing
from ansible_collections.baton.release.plugins.module_utils.traffic_probes import AGENT

from tests.balancers.clients import COOKIE, Client, Crowd, near
from tests.balancers.running_nginx import RunningNginx
from tests.witness.checker import judge
from tests.witness.process import Witness

CLIENTS, DRAWING = 150, 400
BUSY_SECONDS = 10.0
GREEN_5 = "nginx.d/to/blue/green.5"


def ask(nginx: RunningNginx, cookie: str = "", path: str = "/", **headers: str) -> tuple[int, str, str]:
    """Return status, slot and the cookies that are given."""
    connection = http.client.HTTPConnection(nginx.public, timeout=30)
    try:
        connection.request("GET", path, headers={**headers, **({"Cookie": f"{COOKIE}={cookie}"} if cookie else {})})
        answer = connection.getresponse()
        if answer.status != http.client.SWITCHING_PROTOCOLS:
            answer.read()
        return answer.status, answer.getheader("X-Slot") or "", answer.getheader("Set-Cookie") or ""
    finally:
        connection.close()


def live_link(nginx: RunningNginx) -> str:
    """Return where the link to what is live leads."""
    return str((nginx.state / "nginx.live").readlink())


def before_shares(nginx: RunningNginx) -> None:
    """Have it run with a configuration that looks no number up, and does not say that it does."""
    config = nginx.directory / "shop.conf"
    text = config.read_text().replace('"shares":true,', "").replace("_shared $baton_shop_share;", "_shared '';")
    config.write_text(text)
    nginx.reload()


def test_the_share_grows_and_nobody_moves_back_until_all_are_there(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    crowd = Crowd(nginx.public, CLIENTS)
    assert set(crowd.ask()) == {"blue"}
    assert {client.cookie for client in crowd.clients} == {""}  # none is set without a share
    for share in (5, 25, 50):
        result = nginx.switch("green", "blue", share=share)
        assert (result["changed"], result["live"], result["share"]) == (True, "blue", share)
        assert not nginx.switch("green", "blue", share=share)["changed"]
        for _again in range(2):
            assert near(crowd.ask().count("green"), share, CLIENTS)
    assert (nginx.observe()["live"], nginx.observe()["share"]) == ("blue", 50)
    result = nginx.switch("green", "blue")
    assert (result["live"], result["share"], result["previous"]) == ("green", 0, "blue")
    assert set(crowd.ask()) == {"green"}
    assert not crowd.moved_back("blue")
    assert not crowd.failures()
    some = next(client for client in crowd.clients if client.cookie)
    assert some.attributes == {"Path=/", "HttpOnly", "SameSite=Lax"}
    assert (nginx.observe()["share"], ask(nginx)[2]) == (0, "")


def test_taken_back_at_once_the_share_reaches_nobody(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    nginx.switch("green", "blue", share=50)
    crowd = Crowd(nginx.public, 40)
    assert set(crowd.ask()) == {"blue", "green"}
    assert nginx.switch("green", "blue", share=0)["share"] == 0
    assert set(crowd.ask()) == {"blue"}
    nginx.switch("green", "blue", share=50)
    # The way back, without a word about what is expected.
    result = nginx.switch("blue")
    assert (result["changed"], result["live"], result["share"]) == (True, "blue", 0)
    assert set(crowd.ask()) == {"blue"}


def test_the_numbers_below_the_share_reach_the_slot_and_no_others(nginx: RunningNginx) -> None:
    nginx.switch("green", "none")
    for share in (1, 9, 10, 50, 99):
        nginx.switch("blue", "green", share=share)
        answers = [ask(nginx, cookie=str(number))[1:] for number in range(100)]
        assert answers == [("blue", "")] * share + [("green", "")] * (100 - share)
    assert [ask(nginx, cookie=number)[1:] for number in ("05", "5")] == [("blue", "")] * 2


def test_a_client_without_cookies_draws_at_each_request(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    nginx.switch("green", "blue", share=25)
    clients = [Client(nginx.public) for _ in range(DRAWING)]
    assert near([client.ask() for client in clients].count("green"), 25, DRAWING)
    numbers = [int(client.cookie.partition("=")[2]) for client in clients]
    # What it is given is where it was sent, and of 100 numbers all are drawn alike: about one in ten of each tens digit, and last one.
    assert all((number < 25) == (client.slots == ["green"]) for number, client in zip(numbers, clients, strict=True))
    for digit in range(10):
        assert near(sum(number // 10 == digit for number in numbers), 10, DRAWING)
        assert near(sum(number % 10 == digit for number in numbers), 10, DRAWING)


def test_a_cookie_that_holds_no_such_number_is_replaced(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    nginx.switch("green", "blue", share=1)
    for number in ("100", "-1", "abc", "07x", "", "../../live"):
        seen = set()
        for _ in range(10):
            client = Client(nginx.public)
            client.cookie = f"{COOKIE}={number}"
            seen.add(client.ask())
            assert client.cookie.partition("=")[2].isdecimal()
            assert client.cookie != f"{COOKIE}={number}"
        assert "blue" in seen


def test_a_share_survives_a_kill_a_restart_and_a_reload(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    nginx.switch("green", "blue", share=25)
    crowd = Crowd(nginx.public, 100)
    before = crowd.ask()
    assert set(before) == {"blue", "green"}
    nginx.kill()
    routing = nginx.balancer().routing({})
    assert (routing.live, routing.share) == ("blue", 25)
    nginx.start()
    assert crowd.ask() == before
    nginx.stop()
    nginx.start()
    assert crowd.ask() == before
    nginx.reload()
    assert crowd.ask() == before
    assert (nginx.observe()["share"], nginx.switch("green", "blue", share=25)["changed"]) == (25, False)


def test_no_request_is_lost_while_the_share_changes(nginx: RunningNginx, tmp_path: Path) -> None:
    nginx.switch("blue", "none")
    with Witness(nginx.url, tmp_path / "ledger", rate=50, posts=[("/orders", "{}")], connections=8) as witness:
        witness.wait_until_flowing()
        for share in (5, 25, 0, 50, 99, 100):
            nginx.switch("green", "blue", share=share)
            time.sleep(0.5)
        for share in (10, 0, 100):
            nginx.switch("blue", "green", share=share)
            time.sleep(0.3)
        ledger = witness.stop()
    verdict = judge(ledger, expect_versions=["blue", "green"], max_silence=BUSY_SECONDS)
    assert verdict.ok, verdict.reasons


def test_where_the_slot_of_a_client_fails_the_other_one_does_not_hide_it(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    nginx.switch("green", "blue", share=50)
    nginx.backends["app1", "green"].close()
    assert {ask(nginx, cookie="0")[:2] for _ in range(6)} == {(200, "green")}
    for host in nginx.hosts[1:]:
        nginx.backends[host, "green"].close()
    log = NginxAccessLog(nginx.log, cursor=None, match={"entry": "public"}, own_agent=AGENT)
    status, slot, given = ask(nginx, cookie="0")
    assert (status, slot, given) == (502, "", "")
    assert ask(nginx, cookie="99")[:2] == (200, "blue")
    seen: list[tuple[str | None, str]] = []

    def complete() -> bool:
        seen.extend((one.slot, one.outcome) for one in log.read())
        return len(seen) >= 2

    nginx.eventually(complete)
    assert sorted(seen, key=str) == [("blue", "ok"), ("green", "error")]
    # The answer that tells of it brings the number too, so the client stays one of the share.
    answers = [ask(nginx) for _ in range(30)]
    assert {(status, int(given.split(";")[0].split("=")[1]) < 50) for status, _slot, given in answers} == {
        (200, False),
        (502, True),
    }


def test_requests_in_flight_are_counted_in_both_slots(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    nginx.switch("green", "blue", share=50)
    threads = [threading.Thread(target=ask, args=(nginx, number, "/held")) for number in ("0", "99")]
    for thread in threads:
        thread.start()

    def held() -> dict[str, int]:
        pools = nginx.observe()["pools"]
        return {slot: sum(pools[slot]["in_flight"].values()) for slot in ("blue", "green")}

    nginx.eventually(lambda: held() == {"blue": 1, "green": 1})
    for backend in nginx.backends.values():
        backend.release.set()
    for thread in threads:
        thread.join()
    nginx.eventually(lambda: held() == {"blue": 0, "green": 0})


def test_the_watch_sees_each_request_in_the_slot_that_answered_it(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    nginx.switch("green", "blue", share=50)
    nginx.eventually(nginx.log.exists)
    log = NginxAccessLog(nginx.log, cursor=None, match={"entry": "public"}, own_agent=AGENT)
    answered = Counter(Crowd(nginx.public, 60).ask())
    assert set(answered) == {"blue", "green"}
    seen: Counter[str | None] = Counter()

    def complete() -> bool:
        seen.update(request.slot for request in log.read())
        return sum(seen.values()) >= sum(answered.values())

    nginx.eventually(complete)
    assert seen == answered


def test_a_websocket_is_a_client_too_and_the_door_gives_nobody_a_number(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    nginx.switch("green", "blue", share=99)
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    status, _slot, given = ask(nginx, path="/chat", **upgrade)
    assert (status, given.startswith(f"{COOKIE}=")) == (101, True)
    nginx.move_door(Door("maintenance", retry_after=60))
    assert ask(nginx) == (503, "", "")
    nginx.move_door(Door())
    assert ask(nginx, cookie="98") == (200, "green", "")


def test_headers_that_the_administrator_gives_to_all_are_kept(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    main = nginx.directory / "nginx.conf"
    main.write_text(main.read_text().replace("http { ", "http { add_header X-Theirs yes; "))
    nginx.reload()

    def theirs(cookie: str) -> str:
        connection = http.client.HTTPConnection(nginx.public, timeout=30)
        connection.request("GET", "/", headers={"Cookie": cookie})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.getheader("X-Theirs") or ""

    assert theirs("") == "yes"
    nginx.switch("green", "blue", share=25)
    assert [theirs(f"{COOKIE}={number}") for number in (0, 99)] == ["yes", "yes"]


def test_a_rolling_update_never_begins_beside_a_share(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    nginx.switch("green", "blue", share=25)
    with pytest.raises(BatonError, match="25 % of the clients reach green"):
        nginx.switch("mixed", "blue", seats={"app1": "green"})
    assert (nginx.observe()["live"], nginx.observe()["share"]) == ("blue", 25)
    nginx.switch("blue")
    assert nginx.switch("mixed", "blue", seats={"app1": "green"})["seats"]["app1"] == "green"
    # A number from before means nothing then: seats are drawn by each request.
    assert {ask(nginx, cookie="5")[1] for _ in range(40)} == {"blue", "green"}


def test_a_configuration_from_before_shares_is_refused_one_and_serves_on(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    before_shares(nginx)
    with pytest.raises(BatonError, match=r"knows no shares.*run provision.yml first"):
        nginx.switch("green", "blue", share=25)
    assert (nginx.get()[1], live_link(nginx)) == ("blue", "nginx.d/to/blue")
    assert nginx.switch("green", "blue")["changed"]


def test_a_share_that_the_running_configuration_does_not_know_any_more_is_said_and_taken_back(
    nginx: RunningNginx,
) -> None:
    nginx.switch("blue", "none")
    nginx.switch("green", "blue", share=99)
    before_shares(nginx)
    assert {ask(nginx, cookie="0")[:2] for _ in range(5)} == {(200, "blue")}
    seen = nginx.balancer().routing({})
    assert (seen.live, seen.share, seen.unsettled) == ("blue", 0, "blue:green:99 after a reload")
    assert nginx.switch("blue", "blue")["changed"]
    assert live_link(nginx) == "nginx.d/to/blue"


def test_a_silent_nginx_is_given_no_share(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    nginx.kill()
    with pytest.raises(BatonError, match="does not answer"):
        nginx.switch("green", "blue", share=25, min_up=0)
    assert live_link(nginx) == "nginx.d/to/blue"


class _KilledError(Exception):
    """Stands for a kill: the run goes no further."""


def test_a_change_of_the_share_that_was_killed_in_the_middle_is_finished_by_the_next_one(
    nginx: RunningNginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    nginx.switch("blue", "none")
    for share, links in ((5, 0), (6, 300), (7, 600), (8, 612)):  # the last of them is nginx.live itself
        made = iter(range(links))

        def until_killed(link: Path, text: str, made: typing.Iterator[int] = made) -> None:
            if next(made, None) is None:
                link.with_name(f".{link.name}.1").symlink_to(text)
                raise _KilledError
            replace_link(link, text)

        with monkeypatch.context() as patched:
            patched.setattr(nginx_links, "replace_link", until_killed)
            with pytest.raises(_KilledError):
                nginx.switch("green", "blue", share=share)
        assert (nginx.observe()["share"], ask(nginx, cookie="0")[1]) == (0, "blue")
        result = nginx.switch("green", "blue", share=share)
        assert (result["changed"], result["share"]) == (True, share)
        answers = [ask(nginx, cookie=str(number))[1] for number in (0, share - 1, share, 99)]
        assert answers == ["green", "green", "blue", "blue"]
        nginx.switch("blue")


def test_a_damaged_share_is_recognized_and_mended(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    nginx.switch("green", "blue", share=5)
    share = nginx.state / GREEN_5
    (share / "client.03").unlink()
    (share / "client.50").unlink()
    (share / "client.50").symlink_to("../../green")
    seen = nginx.balancer().routing({})
    assert (seen.live, seen.share, seen.unsettled) == ("blue", 5, "2 links lead elsewhere")
    assert nginx.switch("green", "blue", share=5)["changed"]
    assert nginx.balancer().routing({}).unsettled == ""
    assert [ask(nginx, cookie=number)[1] for number in ("3", "50")] == ["green", "blue"]


def test_a_share_that_nginx_does_not_see_is_not_made_and_one_that_is_there_is_said(nginx: RunningNginx) -> None:
    nginx.switch("blue", "none")
    links = NginxLinks(nginx.state)
    target = links.prepare(Routing("blue", share=5))
    # Where nginx looks, there is what is live, and no client's number.
    elsewhere = nginx.directory / "elsewhere/nginx.live"
    elsewhere.mkdir(parents=True)
    (elsewhere / "00").symlink_to(nginx.state / "nginx.live/00")
    config = nginx.directory / "shop.conf"
    looked_at = "root {}/$baton_shop_link;"
    text = config.read_text().replace(looked_at.format(nginx.state), looked_at.format(elsewhere.parent))
    config.write_text(text)
    nginx.reload()
    with pytest.raises(BatonError, match=rf"{target} lead to .*nginx, which follows them, finds none"):
        nginx.switch("green", "blue", share=5)
    assert live_link(nginx) == "nginx.d/to/blue"
    links.publish(target)
    with pytest.raises(BatonError, match=r"nginx.live lead to blue and green; nginx, .* finds blue and none"):
        nginx.observe()
