"""The controller dies: traffic goes on, status tells the truth, and the same command finishes the release."""

from __future__ import annotations

import pytest
from ansible_collections.baton.release.plugins.module_utils import lease

from tests.e2e.environment import Environment
from tests.witness.checker import judge

KILL = "kill -9 $PLAYBOOK_PID"
# The task is under way by then; on current Ansible its workers live on and finish it.
KILL_LATER = "(sleep 0.4; kill -9 $PLAYBOOK_PID) >/dev/null 2>&1 </dev/null &"


@pytest.mark.parametrize(
    ("task", "how", "moved"),
    [
        pytest.param("Install the version", KILL_LATER, False, id="while it is staged"),
        pytest.param("Switch", KILL, False, id="before the switch"),
        pytest.param("Switch", KILL_LATER, None, id="in the switch"),
        pytest.param("Renew the lease", KILL, True, id="in the watch"),
        pytest.param("Give the lock back", KILL, True, id="before the lock is given back"),
    ],
)
def test_killed_in_a_release(shop: Environment, task: str, how: str, moved: bool | None) -> None:  # a table's column
    version, before = shop.new_version(), shop.live()
    with shop.witness("death") as witness:
        witness.wait_until_flowing()
        killed = shop.release(version, before=task, sabotage=how)
        assert killed.code == -9, killed.output
        status = shop.status()
        if moved is not None:
            assert (shop.live() != before) is moved
        assert f"lb1: {shop.live()} ({shop.served()['version']})" in status
        again = shop.release(version)
        ledger = witness.stop()
    assert again.code == 0, again.output
    assert judge(ledger).ok, judge(ledger).reasons
    assert shop.served()["version"] == version
    third = shop.release(version)
    assert (third.code, third.changed()) == (0, [])


def test_killed_in_a_release_then_rolled_back(shop: Environment) -> None:
    version, before, served = shop.new_version(), shop.live(), shop.served()["version"]
    with shop.witness("wreck") as witness:
        witness.wait_until_flowing()
        shop.release(version, before="Renew the lease", sabotage=KILL)
        assert shop.served()["version"] == version
        back = shop.play("rollback")
        ledger = witness.stop()
    assert back.code == 0, back.output
    assert judge(ledger).ok, judge(ledger).reasons
    assert (shop.live(), shop.served()["version"]) == (before, served)


def test_a_second_run_is_told_who_holds_the_lock(shop: Environment) -> None:
    """The second controller runs while the first one, alive, holds the lease."""
    left_behind = shop.lease()["token"]  # a run that was killed when all was done may not have given it back
    held = lease.acquire(shop.state("lb1"), owner="ann@elsewhere", reason="a test", ttl=300, takeover_token=left_behind)
    before = shop.snapshot()
    played = shop.release(shop.new_version())
    assert played.code != 0
    assert "held by ann@elsewhere since" in " ".join(played.output.split())
    after = shop.snapshot()
    assert {name for name in before if before[name] != after.get(name)} == set()
    lease.release(shop.state("lb1"), token=held.token)
