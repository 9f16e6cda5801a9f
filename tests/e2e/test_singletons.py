"""Processes that must exist once: never two at any instant, and always those of the version that is live, whatever dies on the way.

The worker is part of the release. It writes down in a diary when it begins and when it ends, so that a second one would be seen.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.slots import other

from tests.e2e.environment import APP_HOSTS, Environment, Played
from tests.witness.checker import judge

WORKER = """\
import json, os, signal, sys, time
def say(what):
    with open(sys.argv[1], "a") as diary:
        own = [os.environ[name] for name in ("BATON_VERSION", "BATON_SLOT", "BATON_INSTANCE")]
        diary.write(json.dumps([what, *own, os.getpid()]) + "\\n")
def end(*_):
    time.sleep(0.5)
    say("end")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
say("begin")
"""
STAYS = "time.sleep(3600)\n"
CRASHES = "say('end')\nsys.exit('no queue')\n"
STOP = "Stop the singletons of the version before, and see that they are gone"
START = "Start the singletons of the version, and see that they stay up"
KILL = "kill -9 $PLAYBOOK_PID"
REMOTE_CALLS_PER_APP_HOST = 6


class Diary:
    """What the workers have written, and the settings that have one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        mailer = {"command": [sys.executable, "worker.py", str(path)], "stop_seconds": 10}
        self.settings: dict[str, Any] = {"slot_singletons": {"mailer": mailer}, "slot_singletons_stay": 1}

    def entries(self) -> list[tuple[str, str, str, str, int]]:
        """Return what happened, the version, slot, host and pid of each entry."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [tuple(json.loads(line)) for line in lines]

    def running(self) -> list[tuple[str, str, str]]:
        """Return version, slot and host of the workers that have begun and not ended; fails where there ever were two."""
        there: dict[int, tuple[str, str, str]] = {}
        for what, version, slot, host, pid in self.entries():
            if what == "begin":
                assert not there, f"{version} began beside {there}: {self.entries()}"
                there[pid] = (version, slot, host)
            else:
                del there[pid]
        for pid in there:
            os.kill(pid, 0)
        return list(there.values())

    def versions(self) -> list[str]:
        """Return the versions whose workers have begun, one after the other."""
        seen: list[str] = []
        for what, version, *_ in self.entries():
            seen += [version] if what == "begin" and [version] != seen[-1:] else []
        return seen


@pytest.fixture
def diary(shop: Environment, tmp_path: Path) -> Iterator[Diary]:
    """An empty diary; afterwards no worker is left, because what is live is released again without any."""
    one = Diary(tmp_path / "diary")
    yield one
    shop.mend()
    shop.must("release", release_version=shop.served()["version"])
    assert one.running() == []
    assert not [name for name in shop.pids() if "mailer" in name]


def version_with(shop: Environment, how: str) -> str:
    return shop.new_version(edits={"worker.py": WORKER + how})


def words(played: Played) -> str:
    return " ".join(played.output.split())


def test_the_one_that_runs_is_always_that_of_the_version_that_is_live(shop: Environment, diary: Diary) -> None:
    first, second, bad = (version_with(shop, how) for how in (STAYS, STAYS, CRASHES))
    with shop.witness("singletons") as witness:
        witness.wait_until_flowing()
        played = shop.release(first, **diary.settings)
        assert played.code == 0, played.output
        assert diary.running() == [(first, shop.live(), "app1")]
        # Of the hosts only the one that has it pays for it.
        calls = {host: len(played.remote_calls(host)) for host in APP_HOSTS}
        assert calls["app1"] <= REMOTE_CALLS_PER_APP_HOST + 2
        assert max(calls["app2"], calls["app3"]) <= REMOTE_CALLS_PER_APP_HOST
        assert f"singletons mailer: running on app1, {first} in {shop.live()}" in shop.status()
        again = shop.release(first, **diary.settings)
        assert (again.code, again.changed()) == (0, [])

        before, entries = shop.snapshot(), diary.entries()
        checked = shop.release(second, "--check", **diary.settings)
        said = f"stopped before traffic moves: mailer of {first} in {shop.live()} on app1; started after it: mailer on app1, of {second}"
        assert said in words(checked)
        assert (checked.changed(), shop.snapshot(), diary.entries()) == ([], before, entries)
        played = shop.release(second, **diary.settings)
        assert played.code == 0, played.output
        order = [one["task"] for one in played.tasks]
        assert order.index(STOP) < order.index("Switch") < order.index(START)
        assert diary.running() == [(second, shop.live(), "app1")]

        # One that does not stay up: traffic comes back first, and then the one that ran before.
        live = shop.live()
        failed = shop.release(bad, **diary.settings)
        assert failed.code != 0
        assert "mailer of" in words(failed)
        assert "no queue" in words(failed)
        assert f"reverted. {bad} failed; traffic went back to {second} in {live}" in words(failed)
        order = [one["task"] for one in failed.tasks]
        assert order.index("Switch back, from whatever is live") < order.index("Start those that ran before")
        assert (shop.live(), diary.running()) == (live, [(second, live, "app1")])
        assert diary.versions() == [first, second, bad, second]

        back = shop.play("rollback", rollback_version=first, **diary.settings)
        assert back.code == 0, back.output
        assert diary.running() == [(first, shop.live(), "app1")]
        ledger = witness.stop()
    assert judge(ledger).ok, judge(ledger).reasons
    # What failed must not run on beside it, in whatever it was staged.
    assert [name for name in shop.pids() if "mailer" in name] == [f"app1/shop-{shop.live()}-mailer"]


def test_killed_anywhere_the_same_command_or_a_rollback_ends_with_the_right_one(
    shop: Environment, diary: Diary
) -> None:
    first, second, third = (version_with(shop, STAYS) for _ in range(3))
    assert shop.release(first, **diary.settings).code == 0
    live = shop.live()
    # In steps it runs on until the last of the clients are to move.
    steps: dict[str, Any] = {"traffic_steps": [50], "watch_step_seconds": 1, "watch_max_p95_ms": 5000}
    assert shop.release(second, before=STOP, sabotage=KILL, **diary.settings, **steps).code == -9
    assert (shop.share(), diary.running()) == (50, [(first, live, "app1")])
    entries = diary.entries()
    # Killed when it was gone, and before the traffic had moved.
    assert shop.release(second, before="Switch", sabotage=KILL, **diary.settings).code == -9
    assert (shop.live(), diary.running(), len(diary.entries())) == (live, [], len(entries) + 1)
    stay = shop.play("rollback", **diary.settings)
    assert stay.code == 0, stay.output
    assert (shop.live(), diary.running()) == (live, [(first, live, "app1")])
    # Killed when the traffic had moved, and before the new one began.
    assert shop.release(second, before=START, sabotage=KILL, **diary.settings).code == -9
    assert (shop.live(), diary.running()) == (other(live), [])
    played = shop.release(second, **diary.settings)
    assert played.code == 0, played.output
    assert diary.running() == [(second, other(live), "app1")]
    # And killed there, gone back.
    assert shop.release(third, before=START, sabotage=KILL, **diary.settings).code == -9
    assert (shop.live(), diary.running()) == (live, [])
    back = shop.play("rollback", **diary.settings)
    assert back.code == 0, back.output
    assert (shop.served()["version"], diary.running()) == (second, [(second, other(live), "app1")])


def test_a_host_that_dies_is_in_nobodys_way_back_and_gets_no_second_one(shop: Environment, diary: Diary) -> None:
    first, second = (version_with(shop, STAYS) for _ in range(2))
    for version in (first, second):
        assert shop.release(version, **diary.settings).code == 0
    live = shop.live()
    # It dies when its turn comes: traffic goes back, and the run fails at its end.
    died = shop.play("rollback", before=STOP, sabotage=shop.sever("app1"), **diary.settings)
    assert died.code != 0
    assert f"verified. {first} is live in {other(live)}" in words(died)
    assert (
        f"singletons do not run as they should (app1), as said above; mend that, and rollback.yml -e rollback_version={first}"
        in words(died)
    )
    assert (shop.served()["version"], diary.running()) == (first, [(second, live, "app1")])
    # Known to be dead, it is named, and no other host starts one: it may still run there.
    dead = shop.play("rollback", rollback_version=second, **diary.settings)
    assert dead.code == 0, dead.output
    assert "started nowhere, because they may still run there: mailer of app1 (unreachable" in words(dead)
    assert shop.runs()[-1]["detail"].endswith("mailer of app1 (unreachable)")
    assert shop.served()["version"] == second
    shop.mend()
    assert shop.play("rollback", rollback_version=first, **diary.settings).code == 0
    assert diary.running() == [(first, other(live), "app1")]


@pytest.mark.thorough
def test_batch_by_batch_it_changes_over_last_and_comes_back_with_the_hosts(shop: Environment, diary: Diary) -> None:
    first, second, bad = (version_with(shop, how) for how in (STAYS, STAYS, CRASHES))
    surge: dict[str, Any] = {**diary.settings, "release_strategy": "rolling"}
    in_place = {**surge, "release_max_surge": "0", "release_max_unavailable": "1", "rolling_drain_seconds": 2}
    assert shop.release(first, **diary.settings).code == 0
    played = shop.release(second, **surge)
    assert played.code == 0, played.output
    order = [one["task"] for one in played.tasks]
    last_batch = len(order) - 1 - order[::-1].index("Change where the batch's share of the requests goes")
    assert last_batch < order.index(STOP) < order.index("Have the slot live as a whole") < order.index(START)
    assert diary.running() == [(second, shop.live(), "app1")]
    live = shop.live()
    # In place its host had no room for both, so it ended there with the slot, and comes back with it.
    failed = shop.release(bad, **in_place)
    assert failed.code != 0
    assert "no queue" in words(failed)
    assert (shop.live(), shop.served()["version"]) == (live, second)
    assert diary.running() == [(second, live, "app1")]
