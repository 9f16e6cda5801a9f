"""Many controllers want the same: one has its way, the others say who keeps them from it; one that slept too long changes nothing."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from ansible_collections.baton.release.plugins.module_utils.slots import other

from tests.chaos.controller import Controller
from tests.chaos.procedures import named
from tests.chaos.recording import Occurrence, first
from tests.chaos.scene import Scene
from tests.e2e.environment import Environment
from tests.witness.checker import judge

Tasks = Callable[[str], list[Occurrence]]
CONTROLLERS = 20
AT_A_TIME = 4
"""So many make their plans at once. All twenty would leave the servers, which run on this machine too, no time for health checks."""
ALL_START_SECONDS = 400.0
"""Long, for a machine that has other things to do."""
ALL_END_SECONDS = 400.0
PATIENCE_SECONDS = 60.0
"""Of the users: twenty controllers take all the processor time that there is, and slow is not lost."""


def let_the_lease_run_out(shop: Environment) -> None:
    """Do what time would do."""
    (shop.state("lb1") / "lease.json").write_text(json.dumps({**shop.lease(), "expires_at": 0}))


def switch_by_hand(shop: Environment, slot: str) -> None:
    """Do what a person could do at the load balancer."""
    by_hand = shop.state("lb1") / "by-hand"
    by_hand.write_text(slot)
    by_hand.replace(shop.state("lb1") / "live")


def test_of_twenty_controllers_at_once_one_runs(scene: Scene, shop: Environment, tasks: Tasks) -> None:
    """All of them have a plan before the first one takes the lease, so only the lease keeps them apart."""
    lock = first(tasks("release"), "Take the lease")
    version, token, runs = scene.prepare(named("release")), shop.lease()["token"], len(shop.runs())
    with ExitStack() as stack:
        witness = stack.enter_context(shop.witness("twenty", timeout=PATIENCE_SECONDS))
        witness.wait_until_flowing()
        controllers: list[Controller] = []
        for n in range(CONTROLLERS):
            options = {"release_version": version, "release_owner": f"controller-{n}", "release_reason": f"change {n}"}
            controllers.append(stack.enter_context(Controller(shop, "release", options, at=lock, warm=True)))
            if len(controllers) % AT_A_TIME == 0:
                for controller in controllers[-AT_A_TIME:]:
                    assert controller.reached(ALL_START_SECONDS), controller.played().output
        for controller in controllers:
            controller.go_on()
        codes = [controller.ended(ALL_END_SECONDS) for controller in controllers]
        ledger = witness.stop()
    assert judge(ledger).ok, judge(ledger).reasons
    (winner,) = [n for n, code in enumerate(codes) if code == 0]
    assert shop.served()["version"] == version
    assert shop.lease()["token"] == token + 1
    (started, finished) = shop.runs()[runs:]
    assert (started["event"], started["owner"], started["reason"]) == (
        "started",
        f"controller-{winner}",
        f"change {winner}",
    )
    assert (finished["event"], finished["outcome"]) == ("finished", "verified")
    for n, controller in enumerate(controllers):
        if n != winner:
            told = " ".join(controller.played().output.split())
            assert re.search(rf"held by controller-{winner} since [-0-9]+ [:0-9]+ UTC \(change {winner}\)", told), told
            assert codes[n] == 2
            assert controller.played().changed() == []


@pytest.mark.parametrize(
    "name",
    [
        "Switch",
        pytest.param("Install the version", marks=pytest.mark.thorough),
        pytest.param("Renew the lease", marks=pytest.mark.thorough),
    ],
)
def test_a_controller_that_slept_past_its_lease_changes_nothing(
    scene: Scene, shop: Environment, tasks: Tasks, name: str
) -> None:
    task = first(tasks("release"), name)
    slept, version = scene.prepare(named("release")), scene.new_version()
    with ExitStack() as stack:
        witness = stack.enter_context(shop.witness("slept"))
        witness.wait_until_flowing()
        late = stack.enter_context(
            Controller(
                shop,
                "release",
                {"release_version": slept, "release_owner": "sleeper"},
                at=task,
            )
        )
        assert late.reached(ALL_START_SECONDS), late.played().output
        late.everything(signal.SIGSTOP)
        too_early = shop.release(version, release_over_unverified=True)
        assert too_early.code != 0
        assert "held by sleeper since" in " ".join(too_early.output.split())
        assert too_early.changed() == []
        let_the_lease_run_out(shop)
        played = shop.release(version, release_over_unverified=True)
        assert played.code == 0, played.output
        before, pids, already = shop.snapshot(), shop.pids(), len(late.played().tasks)
        late.everything(signal.SIGCONT)
        late.go_on()
        assert late.ended(ALL_END_SECONDS) == 2, late.played().output
        assert (shop.snapshot(), shop.pids()) == (before, pids)
        ledger = witness.stop()
    assert judge(ledger).ok, judge(ledger).reasons
    assert shop.served()["version"] == version
    woken = late.played()
    assert [one["task"] for one in woken.tasks[already:] if one["changed"]] == []
    assert re.search(r"(this host has seen lease|the newest lease is) \d+", " ".join(woken.output.split())), (
        woken.output
    )


def test_a_switch_by_somebody_else_stops_a_release(scene: Scene, shop: Environment, tasks: Tasks) -> None:
    """Somebody without a lease, a person at the load balancer for example, moves the traffic after the plan was made."""
    task = first(tasks("release"), "Switch")
    version, served = scene.prepare(named("release")), shop.served()["version"]
    idle = other(shop.live())
    with ExitStack() as stack:
        witness = stack.enter_context(shop.witness("hand"))
        witness.wait_until_flowing()
        release = Controller(shop, "release", {"release_version": version}, at=task)
        controller = stack.enter_context(release)
        assert controller.reached(ALL_START_SECONDS), controller.played().output
        switch_by_hand(shop, idle)
        controller.go_on()
        assert controller.ended(ALL_END_SECONDS) == 2
        ledger = witness.stop()
    assert judge(ledger).ok, judge(ledger).reasons
    assert f"Found: {idle} is live on this load balancer" in " ".join(controller.played().output.split())
    assert shop.served()["version"] == served


def test_a_switch_by_somebody_else_after_the_plan_is_refused_in_words(
    scene: Scene, shop: Environment, tasks: Tasks
) -> None:
    task = first(tasks("release"), "Fence off older runs, and see under the fence that the plan is still true")
    version, live = scene.prepare(named("release")), shop.live()
    with Controller(shop, "release", {"release_version": version}, at=task) as controller:
        assert controller.reached(ALL_START_SECONDS), controller.played().output
        switch_by_hand(shop, other(live))
        try:
            controller.go_on()
            assert controller.ended(ALL_END_SECONDS) == 2
            assert shop.live() == other(live)
        finally:
            switch_by_hand(shop, live)
    told = " ".join(controller.played().output.split())
    assert (
        f"Found: {other(live)} is live on this load balancer. Expected: {live}, as it was when the plan was made"
        in told
    )
