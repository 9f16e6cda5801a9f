# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Shares of the clients with the real Caddy: how many reach the new slot, who stays there, and that nobody notices the change."""

from __future__ import annotations

import json
import signal
import time
import typing
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

from tests.balancers.clients import COOKIE, Client, Crowd, near
from tests.balancers.running_caddy import RunningCaddy
from tests.witness.checker import judge
from tests.witness.process import Witness

CLIENTS = 400
BUSY_SECONDS = 10.0


@pytest.fixture
def caddy(tmp_path: Path) -> typing.Iterator[RunningCaddy]:
    """Return a Caddy that runs, with two hosts of two slots each; blue is live."""
    running = RunningCaddy(tmp_path)
    try:
        running.start()
        running.switch("blue", "none")
        yield running
    finally:
        running.close()


def test_the_share_grows_and_nobody_moves_back_until_all_are_there(caddy: RunningCaddy) -> None:
    crowd = Crowd(caddy.public, CLIENTS)
    assert set(crowd.ask()) == {"blue"}
    assert {client.cookie for client in crowd.clients} == {""}  # none is set without a share
    for share in (5, 25, 50):
        result = caddy.switch("green", "blue", share=share)
        assert (result["changed"], result["live"], result["share"]) == (True, "blue", share)
        assert not caddy.switch("green", "blue", share=share)["changed"]
        for _again in range(2):
            assert near(crowd.ask().count("green"), share, CLIENTS)
    assert (caddy.observe()["live"], caddy.observe()["share"]) == ("blue", 50)
    assert caddy.switch("green", "blue")["live"] == "green"
    assert set(crowd.ask()) == {"green"}
    assert not crowd.moved_back("blue")
    assert not crowd.failures()
    some = next(client for client in crowd.clients if client.cookie)
    assert some.attributes == {"Path=/", "HttpOnly", "SameSite=Lax"}
    # What the log says of each request is the slot that answered it.
    entries = [json.loads(line) for line in (caddy.directory / "access.log").read_text().splitlines()]
    logged = [entry["slot"] for entry in entries if entry.get("entry") == "public"]
    answered = [slot for client in crowd.clients for slot in client.slots]
    assert (logged.count("green"), logged.count("blue")) == (answered.count("green"), answered.count("blue"))


def test_taken_back_at_once_the_share_reaches_nobody(caddy: RunningCaddy) -> None:
    caddy.switch("green", "blue", share=50)
    crowd = Crowd(caddy.public, 40)
    assert set(crowd.ask()) == {"blue", "green"}
    assert caddy.switch("green", "blue", share=0)["share"] == 0
    assert set(crowd.ask()) == {"blue"}
    caddy.switch("green", "blue", share=50)
    # The way back, without a word about what is expected.
    result = caddy.switch("blue")
    assert (result["changed"], result["live"], result["share"]) == (True, "blue", 0)
    assert set(crowd.ask()) == {"blue"}


def test_a_client_without_cookies_draws_at_each_request(caddy: RunningCaddy) -> None:
    caddy.switch("green", "blue", share=25)
    clients = [Client(caddy.public) for _ in range(CLIENTS)]
    assert near([client.ask() for client in clients].count("green"), 25, CLIENTS)
    numbers = [int(client.cookie.partition("=")[2]) for client in clients]
    # Of 100 numbers all are drawn alike: about one in ten of each tens digit, and of each last one.
    for digit in range(10):
        assert near(sum(number // 10 == digit for number in numbers), 10, CLIENTS)
        assert near(sum(number % 10 == digit for number in numbers), 10, CLIENTS)


@pytest.mark.parametrize("number", ["100", "-1", "abc", "07x", "", "../../live"])
def test_a_cookie_that_holds_no_such_number_is_replaced(caddy: RunningCaddy, number: str) -> None:
    caddy.switch("green", "blue", share=1)
    seen = set()
    for _ in range(20):
        client = Client(caddy.public)
        client.cookie = f"{COOKIE}={number}"
        seen.add(client.ask())
        assert client.cookie.partition("=")[2].isdecimal()
        assert client.cookie != f"{COOKIE}={number}"
    assert "blue" in seen


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_share_survives_a_restart_and_a_kill(caddy: RunningCaddy, end: signal.Signals) -> None:
    caddy.switch("green", "blue", share=25)
    crowd = Crowd(caddy.public, 100)
    before = crowd.ask()
    assert set(before) == {"blue", "green"}
    caddy.stop(end)
    routing = caddy.balancer().routing({})
    assert (routing.live, routing.share) == ("blue", 25)
    caddy.start()
    assert crowd.ask() == before
    assert (caddy.observe()["share"], caddy.switch("green", "blue", share=25)["changed"]) == (25, False)


def test_no_request_is_lost_while_the_share_changes(caddy: RunningCaddy, tmp_path: Path) -> None:
    with Witness(caddy.url, tmp_path / "ledger", rate=50, posts=[("/orders", "{}")], connections=8) as witness:
        witness.wait_until_flowing()
        for share in (5, 25, 0, 50, 99, 100):
            caddy.switch("green", "blue", share=share)
            time.sleep(0.5)
        for share in (10, 0, 100):
            caddy.switch("blue", "green", share=share)
            time.sleep(0.3)
        ledger = witness.stop()
    verdict = judge(ledger, expect_versions=["blue", "green"], max_silence=BUSY_SECONDS)
    assert verdict.ok, verdict.reasons


def test_a_configuration_from_before_shares_is_refused_one_and_serves_on(caddy: RunningCaddy) -> None:
    caddy.stop()
    config = caddy.directory / "caddy.json"
    config.write_text(config.read_text().replace("shop_share", "shop_other"))
    caddy.start()
    with pytest.raises(BatonError, match="knows no shares"):
        caddy.switch("green", "blue", share=25)
    assert ((caddy.state / "live").read_text(), Client(caddy.public).ask()) == ("blue", "blue")
    assert caddy.switch("green", "blue")["changed"]


def test_a_share_that_nobody_can_have_written_is_said(caddy: RunningCaddy) -> None:
    for word in ("blue:blue:5", "blue:green:0", "blue:green:100", "mixed:blue:5", "blue:green"):
        (caddy.state / "live").write_text(word)
        with pytest.raises(BatonError, match=f"holds '{word}'"):
            caddy.observe()
