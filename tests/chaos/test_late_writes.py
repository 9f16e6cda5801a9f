"""A worker outlives its controller and writes when others have gone on: the lease's token keeps it from changing anything."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import ExitStack

from tests.chaos import processes
from tests.chaos.controller import Controller
from tests.chaos.procedures import named
from tests.chaos.recording import Occurrence, first
from tests.chaos.scene import Scene
from tests.e2e.environment import Environment
from tests.witness.checker import judge

Tasks = Callable[[str], list[Occurrence]]
REACHED_SECONDS = 120.0
ENDS_SECONDS = 120.0
POLL_SECONDS = 0.002


def orphaned(shop: Environment, version: str, task: Occurrence) -> Controller:
    """Release ``version`` up to the task, pause each of its workers as soon as there is one, kill the rest; return what died."""
    release = Controller(shop, "release", {"release_version": version}, at=task, moment="middle")
    with release as controller:
        assert controller.reached(REACHED_SECONDS), controller.played().output
        deadline, paused = time.monotonic() + REACHED_SECONDS, set[int]()
        while len(paused) < len(task.hosts):
            fresh = {
                pid for pid in processes.of_run(controller.run) if processes.parent(pid) == controller.pid
            } - paused
            # The shell of the callback is a child too, but no worker: those have a session of their own.
            workers = {pid for pid in fresh if processes.leads_session(pid)}
            processes.send(workers, signal.SIGSTOP)
            paused |= workers
            assert time.monotonic() < deadline, controller.played().output
        controller.send(signal.SIGKILL, group=True)
        assert controller.ended(REACHED_SECONDS) == -signal.SIGKILL
    assert paused <= set(processes.of_run(controller.run))
    return controller


def go_on(controller: Controller) -> int:
    """Let the paused workers of the dead controller go on to their end; return how many modules they still started."""
    already = len(controller.started)
    processes.send(processes.of_run(controller.run), signal.SIGCONT)
    deadline = time.monotonic() + ENDS_SECONDS
    while processes.of_run(controller.run):
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)
    return len(controller.started) - already


def test_a_late_installation_changes_nothing(scene: Scene, shop: Environment, tasks: Tasks) -> None:
    task = first(tasks("release"), "Install the version")
    late, version = scene.prepare(named("release")), scene.new_version()
    with ExitStack() as stack:
        witness = stack.enter_context(shop.witness("late"))
        witness.wait_until_flowing()
        dead = orphaned(shop, late, task)
        stack.callback(processes.end, dead.run)
        played = shop.release(version)
        assert played.code == 0, played.output
        before, pids = shop.snapshot(), shop.pids()
        assert go_on(dead) >= 1
        assert (shop.snapshot(), shop.pids()) == (before, pids)
        ledger = witness.stop()
    assert judge(ledger).ok, judge(ledger).reasons
    assert shop.served()["version"] == version


def test_a_late_switch_changes_nothing_although_the_slot_it_expects_is_live_again(
    scene: Scene, shop: Environment, tasks: Tasks
) -> None:
    task = first(tasks("release"), "Switch")
    late = scene.prepare(named("release"))
    live, served = shop.live(), shop.served()["version"]
    with ExitStack() as stack:
        witness = stack.enter_context(shop.witness("late"))
        witness.wait_until_flowing()
        dead = orphaned(shop, late, task)
        stack.callback(processes.end, dead.run)
        again = shop.release(late)
        assert again.code == 0, again.output
        back = shop.play("rollback")
        assert back.code == 0, back.output
        assert (shop.live(), shop.served()["version"]) == (live, served)
        before = shop.snapshot()
        assert go_on(dead) >= 1
        assert shop.snapshot() == before
        assert (shop.live(), shop.served()["version"]) == (live, served)
        ledger = witness.stop()
    assert judge(ledger).ok, judge(ledger).reasons


def test_a_late_installation_does_not_stop_the_slot_that_a_rollback_has_just_made_live(
    scene: Scene, shop: Environment, tasks: Tasks
) -> None:
    """The slot that was idle is live again before the rollback has anything to do on the app hosts."""
    install, verify = (
        first(tasks("release"), "Install the version"),
        first(tasks("hot rollback"), "Ask through this load balancer for the version"),
    )
    version, late = scene.prepare(named("hot rollback")), scene.new_version()
    with ExitStack() as stack:
        witness = stack.enter_context(shop.witness("late"))
        witness.wait_until_flowing()
        dead = orphaned(shop, late, install)
        stack.callback(processes.end, dead.run)
        rollback = stack.enter_context(Controller(shop, "rollback", {"rollback_version": version}, at=verify))
        assert rollback.reached(REACHED_SECONDS), rollback.played().output
        assert shop.served()["version"] == version
        assert go_on(dead) >= 1
        rollback.go_on()
        assert rollback.ended(REACHED_SECONDS) == 0, rollback.played().output
        ledger = witness.stop()
    assert judge(ledger).ok, judge(ledger).reasons
    assert shop.served()["version"] == version


def test_a_lease_that_a_late_worker_took_for_a_dead_controller_holds_nobody_up(
    scene: Scene, shop: Environment, tasks: Tasks
) -> None:
    version = scene.prepare(named("release"))
    dead = orphaned(shop, version, first(tasks("release"), "Take the lease"))
    assert go_on(dead) <= 1
    played = shop.release(version)
    assert played.code == 0, played.output
    assert shop.served()["version"] == version
