"""Releases in steps: a share of the clients reaches the new version, is watched, and grows; or comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.slots import other

from tests.balancers.clients import near
from tests.e2e.environment import APP_HOSTS, Environment
from tests.witness.checker import by_version, judge
from tests.witness.ledger import Ledger

STEPS: dict[str, Any] = {"traffic_steps": [20, 50], "watch_step_seconds": 3}
RATE = 40
KILL = "kill -9 $PLAYBOOK_PID"
FEW_EACH = {"watch_max_p95_ms": 5000}
"""On a busy machine the latency is not the question here."""


def step(share: int) -> str:
    return f"Have the version reach a share of the clients, in per cent: {share}"


@contextmanager
def nothing_lost(shop: Environment, name: str) -> Iterator[list[Ledger]]:
    """Have no request lost; the list holds the ledger afterwards."""
    ledgers: list[Ledger] = []
    with shop.witness(name, rate=RATE) as witness:
        witness.wait_until_flowing()
        yield ledgers
        ledgers.append(witness.stop())
    verdict = judge(ledgers[0])
    assert verdict.ok, verdict.reasons


def of(ledger: Ledger, version: str) -> tuple[int, int]:
    """Return how many requests ``version`` answered, and how many were answered in all from its first answer to its last."""
    seen = [record for record in ledger if record.version is not None]
    at = [record.end for record in seen if record.version == version]
    return len(at), sum(min(at) <= record.end <= max(at) for record in seen)


def test_in_steps_both_versions_answer_until_all_clients_have_moved(shop: Environment) -> None:
    version, served, live = shop.new_version(), shop.served()["version"], shop.live()
    with nothing_lost(shop, "steps") as ledgers:
        played = shop.release(version, **STEPS, **FEW_EACH)
    assert played.code == 0, played.output
    said = " ".join(played.output.split())
    assert "forward in steps: " in said
    assert "clients 20 % > 50 % > all" in said
    assert (played.ran(step(20)), played.ran(step(50)), played.ran("Switch")) == (["lb1"], ["lb1"], ["lb1"])
    assert (shop.live(), shop.share(), shop.served()["version"]) == (other(live), 0, version)
    # Until the old version answered for the last time, the new one had answered some, and not most.
    ledger = ledgers[0]
    last_of_old = by_version(ledger)[served].last
    first_of_new = by_version(ledger)[version].first
    stepping = [record for record in ledger if first_of_new <= record.end <= last_of_old and record.version]
    new = sum(record.version == version for record in stepping)
    assert len(stepping) > 6 * RATE // 2  # two steps of three seconds
    assert 0.1 < new / len(stepping) < 0.5
    again = shop.release(version, **STEPS, **FEW_EACH)
    assert (again.code, again.changed()) == (0, [])
    # A rollback is one command: it makes no steps.
    back = shop.play("rollback", **STEPS)
    assert back.code == 0, back.output
    assert "% of the clients" not in back.output
    assert shop.served()["version"] == served


def test_a_version_that_fails_in_the_first_step_reaches_its_share_and_is_taken_back(shop: Environment) -> None:
    live, served = shop.live(), str(shop.served()["version"])
    with shop.witness("bad-step", rate=RATE) as witness:
        witness.wait_until_flowing()
        played = shop.release("v1.2.0", **{**STEPS, **FEW_EACH, "traffic_steps": [10, 50], "watch_step_seconds": 20})
        ledger = witness.stop()
    assert played.code != 0
    assert "reverted. " in played.output
    verdict = judge(ledger, allow_5xx_of="v1.2.0", expect_versions=[served])
    assert verdict.ok, verdict.reasons
    assert (played.ran(step(10)), played.ran(step(50)), played.ran("Switch")) == (["lb1"], [], [])
    bad, among = of(ledger, "v1.2.0")
    assert near(bad, 10, among)
    assert (shop.live(), shop.share(), shop.served()["version"]) == (live, 0, served)
    assert shop.runs()[-1]["outcome"] == "reverted"
    assert not any(name.endswith(f"shop-{other(live)}") for name in shop.pids())


def test_killed_between_two_steps_the_same_command_finishes(shop: Environment) -> None:
    version, live, served = shop.new_version(), shop.live(), shop.served()["version"]
    with nothing_lost(shop, "killed-step"):
        killed = shop.release(version, before=step(50), sabotage=KILL, **STEPS, **FEW_EACH)
        assert killed.code == -9, killed.output
        assert (shop.live(), shop.share()) == (live, 20)
        status = shop.status()
        assert (
            f"lb1: {live} ({served}), 3 of 3 servers up; 20 % of the clients reach {other(live)} ({version})" in status
        )
        before = shop.snapshot()
        planned = shop.release(version, "--check", **STEPS, **FEW_EACH)
        assert (planned.code, planned.changed()) == (0, []), planned.output
        assert "lb1 (20 % of the clients); it is taken back first" in " ".join(planned.output.split())
        assert shop.snapshot() == before
        played = shop.release(version, **STEPS, **FEW_EACH)
    assert played.code == 0, played.output
    order = [one["task"] for one in played.tasks]
    assert order.index("Take back the share that an interrupted run has left") < order.index("Install the version")
    assert (shop.live(), shop.share(), shop.served()["version"]) == (other(live), 0, version)
    again = shop.release(version, **STEPS, **FEW_EACH)
    assert (again.code, again.changed()) == (0, [])


@pytest.mark.parametrize("way", ["rollback", pytest.param("another version", marks=pytest.mark.thorough)])
def test_killed_between_two_steps_there_are_two_other_ways_on(shop: Environment, way: str) -> None:
    version, live, served = shop.new_version(), shop.live(), shop.served()["version"]
    with nothing_lost(shop, "way-on") as ledgers:
        killed = shop.release(version, before=step(50), sabotage=KILL, **STEPS, **FEW_EACH)
        assert killed.code == -9, killed.output
        assert shop.share() == 20
        running = shop.pids()
        if way == "rollback":
            played, wanted = shop.play("rollback", **STEPS), served
        else:
            wanted = shop.new_version()
            played = shop.release(wanted, **FEW_EACH)
    assert played.code == 0, played.output
    assert (shop.share(), shop.served()["version"]) == (0, wanted)
    assert shop.live() == (live if way == "rollback" else other(live))
    assert set(by_version(ledgers[0])) == {served, version, wanted}
    if way == "rollback":
        # The balancer alone was needed: what had been staged still runs.
        assert shop.pids() == running
        assert "the clients that reach the other slot are taken back" in " ".join(played.output.split())
        assert "% of the clients" not in shop.status()
    assert {name for name in shop.pids() if name.endswith(f"shop-{shop.live()}")} == {
        f"{host}/shop-{shop.live()}" for host in APP_HOSTS
    }


def test_a_share_that_a_late_worker_moves_after_the_plan_was_made_is_taken_back_too(shop: Environment) -> None:
    version, live = shop.new_version(), shop.live()
    late = f"printf %s {live}:{other(live)}:20 > {shop.state('lb1')}/live"
    fence = "Fence off older runs, and see under the fence that the plan is still true"
    with nothing_lost(shop, "late"):
        played = shop.release(version, before=fence, sabotage=late, **FEW_EACH)
    assert played.code == 0, played.output
    assert "it is taken back first" not in " ".join(played.output.split())
    order = [one["task"] for one in played.tasks]
    assert order.index("Take back the share that an interrupted run has left") < order.index("Install the version")
    assert (shop.live(), shop.share(), shop.served()["version"]) == (other(live), 0, version)


def test_where_no_user_comes_the_probes_find_the_version_whatever_its_share(shop: Environment) -> None:
    version = shop.new_version()
    played = shop.release(version, **{**STEPS, **FEW_EACH, "traffic_steps": [1]})
    assert played.code == 0, played.output
    assert shop.served()["version"] == version


def test_steps_that_make_no_sense_are_refused(shop: Environment) -> None:
    before = shop.snapshot()
    played = shop.release(shop.new_version(), traffic_steps=[25, 5])
    assert played.code != 0
    assert "traffic_steps: found [25, 5], expected per cents of which each is larger" in " ".join(played.output.split())
    after = shop.snapshot()
    assert {name for name in before if before[name] != after.get(name)} == set()
