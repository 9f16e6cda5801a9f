"""Rolling updates: batch after batch under traffic, and all hosts back when one of them fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.files import locked
from ansible_collections.baton.release.plugins.module_utils.slots import other

from tests.e2e.capacity import Capacity
from tests.e2e.environment import APP_HOSTS, Environment
from tests.witness.checker import judge

SURGE: dict[str, Any] = {"release_strategy": "rolling"}
IN_PLACE: dict[str, Any] = {**SURGE, "release_max_surge": 0, "release_max_unavailable": "34%"}
RATE = 220
"""Requests a second, where it is the number of requests that counts."""
A_FEW = 40
KILL_LATER = "(sleep 0.4; kill -9 $PLAYBOOK_PID) >/dev/null 2>&1 </dev/null &"
LIES_ON_APP1 = "\nimport os\nif os.environ.get('BATON_INSTANCE') == 'app1':\n    __version__ = 'v0.0.1'\n"
DIES_ON_APP2 = "\nimport os\nif os.environ.get('BATON_INSTANCE') == 'app2':\n    raise SystemExit('no room')\n"
DIES_ON_APP3 = "\nimport os\nif os.environ.get('BATON_INSTANCE') == 'app3':\n    raise SystemExit('no room')\n"


@contextmanager
def at_least(servers: int, shop: Environment, name: str, *, rate: int = A_FEW) -> Iterator[None]:
    """Have no request lost, and never fewer than ``servers`` in rotation and ready."""
    # Of the workers of a test run one at a time, and each fourth request a query to the database: two cores do no more beside playbooks.
    alone = locked(shop.root.parents[1] / "full-rate.lock") if rate == RATE else nullcontext()
    paths = ("/", "/", "/", "/products") if rate == RATE else ("/", "/products")
    with alone, shop.witness(name, rate=rate, paths=paths) as witness, Capacity(shop) as capacity:
        witness.wait_until_flowing()
        yield
        ledger = witness.stop()
    verdict = judge(ledger)
    assert verdict.ok, verdict.reasons
    assert len(ledger.records) > rate  # more than a second's
    assert len(capacity.samples) > 1
    assert capacity.lowest >= servers


def test_with_room_for_both_no_capacity_is_lost_and_the_old_version_stays_hot(shop: Environment) -> None:
    version, before, served = shop.new_version(), shop.live(), shop.served()["version"]
    with at_least(3, shop, "surge", rate=RATE):
        played = shop.release(version, **SURGE)
    assert played.code == 0, played.output
    assert "batches app1 > app2 > app3; at least 3 servers up at any time" in " ".join(played.output.split())
    assert played.ran("Start the version") == ["app1", "app2", "app3"]
    assert (shop.live(), shop.served()["version"]) == (other(before), version)
    again = shop.release(version, **SURGE)
    assert (again.code, again.changed()) == (0, [])
    with at_least(3, shop, "hot"):
        back = shop.play("rollback", **SURGE)
    assert back.code == 0, back.output
    assert "hot: " in back.output
    assert (shop.live(), shop.served()["version"]) == (before, served)


def test_in_place_one_host_is_out_at_a_time_going_forward_and_back(shop: Environment) -> None:
    first, second = shop.served()["version"], shop.new_version()
    with at_least(2, shop, "in-place", rate=RATE):
        played = shop.release(second, **IN_PLACE)
    assert played.code == 0, played.output
    assert "nothing stays hot" in played.output
    assert shop.served()["version"] == second
    assert {name for name in shop.pids() if "/shop-" in name} == {f"{host}/shop-{shop.live()}" for host in APP_HOSTS}
    with at_least(2, shop, "in-place-back"):
        back = shop.play("rollback", **IN_PLACE)
    assert back.code == 0, back.output
    assert shop.served()["version"] == first


@pytest.mark.parametrize(
    ("settings", "floor"), [pytest.param(SURGE, 3, id="surge"), pytest.param(IN_PLACE, 2, id="in place")]
)
def test_a_host_that_fails_in_the_last_batch_sends_all_back(
    shop: Environment, settings: dict[str, Any], floor: int
) -> None:
    version = shop.new_version(edits={"shop/__init__.py": DIES_ON_APP3})
    before, served = shop.live(), shop.served()["version"]
    with at_least(floor, shop, "back"):
        played = shop.release(version, **settings)
    assert played.code != 0
    assert "no room" in played.output
    assert "app3" in played.ran("Start the version")
    assert (shop.live(), shop.served()["version"]) == (before, served)
    assert shop.runs()[-1]["outcome"] == "reverted"
    assert {name for name in shop.pids() if "/shop-" in name} == {f"{host}/shop-{before}" for host in APP_HOSTS}


def test_a_host_that_answers_with_another_version_gets_no_traffic(shop: Environment) -> None:
    version = shop.new_version(edits={"shop/__init__.py": LIES_ON_APP1})
    with at_least(3, shop, "lie"):
        played = shop.release(version, app_health_deadline=4, **SURGE)
    assert played.code != 0
    assert f"v0.0.1, expected {version}" in played.output
    assert played.ran("Change where the batch's share of the requests goes") == []
    assert shop.runs()[-1]["outcome"] == "abandoned"


def test_nothing_is_stopped_on_the_way_back_while_a_load_balancer_may_send_requests_there(shop: Environment) -> None:
    """In place, app2 fails; on the way back the load balancer is lost before it can take app1 out."""
    served, version = shop.served()["version"], shop.new_version(edits={"shop/__init__.py": DIES_ON_APP2})
    count = shop.root / "controllers"
    # Forward app1 out and in, app2 out; back app2 out and in, then app1 out.
    sixth = f"echo >> {count}; test $(wc -l < {count}) -ne 6 || {shop.sever('lb1')}"
    with shop.witness("told") as witness:
        witness.wait_until_flowing()
        played = shop.release(
            version,
            before="Change where the batch's share of the requests goes",
            sabotage=sixth,
            release_state_host="app3",
            **IN_PLACE,
        )
        ledger = witness.stop()
    shop.mend()
    count.unlink()
    assert played.code != 0
    assert judge(ledger).ok, judge(ledger).reasons
    assert played.ran("Start the version") == ["app1", "app2", "app2"]
    assert "0 of 1 load balancers have said that they send app1 no requests" in " ".join(played.output.split())
    back = shop.play("rollback", release_state_host="app3", **IN_PLACE)
    assert back.code == 0, back.output
    assert shop.served()["version"] == served


def test_a_host_that_is_lost_in_the_second_batch_sends_all_back(shop: Environment) -> None:
    before, served = shop.live(), shop.served()["version"]
    with at_least(3, shop, "lost"):
        played = shop.release(
            shop.new_version(), before="Give the batch its traffic", sabotage=shop.sever("app2"), **SURGE
        )
    assert played.code != 0
    assert "app3" not in played.ran("Start the version")
    assert (shop.live(), shop.served()["version"]) == (before, served)
    assert shop.runs()[-1]["outcome"] == "reverted"


def test_killed_in_a_batch_a_rollback_and_the_same_command_finish(shop: Environment) -> None:
    """In place; with surge it is one of the procedures that tests/chaos strikes at."""
    settings, first, second = IN_PLACE, shop.served()["version"], shop.new_version()
    with at_least(2, shop, "killed"):
        killed = shop.release(
            second, before="Change where the batch's share of the requests goes", sabotage=KILL_LATER, **settings
        )
        assert killed.code == -9, killed.output
        status = shop.status()
        assert "a rolling update is under way: app1" in status or f"lb1: {shop.live()} ({first})" in status
        other = shop.release(shop.new_version(), **settings)
        back = shop.play("rollback", **settings)
        again = shop.release(second, **settings)
    if "under way" in status:
        assert "interrupted rolling update" in " ".join(other.output.split())
        assert back.code == 0, back.output
    assert again.code == 0, again.output
    assert shop.served()["version"] == second
    third = shop.release(second, **settings)
    assert (third.code, third.changed()) == (0, [])


def test_sizes_that_make_no_sense_are_refused(shop: Environment) -> None:
    before = shop.snapshot()
    played = shop.release(shop.new_version(), **{**IN_PLACE, "release_max_unavailable": "20%"})
    assert played.code != 0
    assert "0 of 3 app hosts" in " ".join(played.output.split())
    after = shop.snapshot()
    assert {name for name in before if before[name] != after.get(name)} == set()
