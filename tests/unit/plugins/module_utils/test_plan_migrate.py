"""A migration outside of a release: whose tree it is made from, and when it has to wait."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.observed import Observed
from ansible_collections.baton.release.plugins.module_utils.plan_migrate import plan_migrate
from ansible_collections.baton.release.plugins.module_utils.plan_release import plan_release
from ansible_collections.baton.release.plugins.module_utils.plan_rollback import plan_rollback

from tests.unit.plugins.module_utils.test_plan import (
    FIRST_DONE,
    FRESH,
    HOSTS,
    LOST,
    SECOND_DONE,
    SHA,
    balancer,
    host,
    journal,
    ran,
    slot,
    world,
)

SHARED = Observed({"lb1": {**balancer("green"), "share": 5}}, SECOND_DONE.hosts, SECOND_DONE.journal)
DISAGREEING = Observed({"lb1": balancer("green"), "lb2": balancer("blue")}, SECOND_DONE.hosts, SECOND_DONE.journal)
MIXED = Observed(
    {"lb1": {**balancer("mixed"), "seats": {"app1": "green", "app2": "blue"}}}, SECOND_DONE.hosts, SECOND_DONE.journal
)
ONE_LOST = Observed(SECOND_DONE.balancers, {**SECOND_DONE.hosts, "app2": LOST}, SECOND_DONE.journal)


@pytest.mark.parametrize(
    ("observed", "wanted", "expected"),
    [
        pytest.param(SECOND_DONE, {"what": "status"}, ("v2", "green", ["read"]), id="the tree of what is live"),
        pytest.param(SECOND_DONE, {"what": "status", "version": "v1"}, ("v1", "green", ["read"]), id="another one"),
        pytest.param(
            SECOND_DONE,
            {"what": "test", "version": "v3", "sha256": SHA},
            ("v3", "green", ["install", "rehearse"]),
            id="the tree of a version to come is installed first",
        ),
        pytest.param(SECOND_DONE, {"what": "apply"}, ("v2", "green", ["migrate"]), id="up"),
        pytest.param(
            SECOND_DONE, {"what": "rollback", "revision": "0001"}, ("v2", "green", ["undo"]), id="down to a revision"
        ),
        pytest.param(ONE_LOST, {"what": "test"}, ("v2", "green", ["rehearse"]), id="who only reads needs the migrator"),
        pytest.param(MIXED, {"what": "status"}, ("v2", "green", ["read"]), id="in a rolling update the seat decides"),
        pytest.param(DISAGREEING, {"what": "status"}, ("v1", "blue", ["read"]), id="between two load balancers"),
    ],
)
def test_what_is_done(observed: Observed, wanted: dict[str, Any], expected: tuple[str, str, list[str]]) -> None:
    plan = plan_migrate(observed, migrator="app1", **wanted)
    assert (plan.version, plan.target_slot, plan.steps) == expected
    assert plan.parts(state_host="lb1")["app1"] == expected[2]
    assert plan.changes == (wanted["what"] in ("apply", "rollback"))


UP: dict[str, Any] = {"what": "apply"}


@pytest.mark.parametrize(
    ("observed", "wanted", "found"),
    [
        pytest.param(ONE_LOST, UP, "app2 (unreachable)", id="a host is lost"),
        pytest.param(Observed({"lb1": LOST}, FIRST_DONE.hosts, FIRST_DONE.journal), UP, "lb1", id="a balancer is lost"),
        pytest.param(SHARED, UP, "a share of the clients in the other slot at lb1", id="a share is left"),
        pytest.param(DISAGREEING, UP, "blue, green", id="the balancers disagree"),
        pytest.param(MIXED, UP, "mixed", id="a rolling update is under way"),
        pytest.param(FRESH, UP, "nothing is live yet", id="nothing is live"),
        pytest.param(SECOND_DONE, {**UP, "version": "v3"}, "no SHA-256", id="a build that nobody knows"),
        pytest.param(
            SECOND_DONE, {"what": "status", "version": "v3"}, "v3 is not installed on app1", id="no such tree"
        ),
        pytest.param(SECOND_DONE, {"what": "rollback"}, "no revision", id="down to nowhere"),
        pytest.param(SECOND_DONE, {"what": "status", "revision": "1"}, "the revision 1", id="a revision to read"),
        pytest.param(SECOND_DONE, {**UP, "migrator": "db1"}, "db1, which is no app host", id="a strange migrator"),
        pytest.param(
            ONE_LOST, {"what": "test", "migrator": "app2"}, "app2, which did not answer", id="a lost migrator"
        ),
    ],
)
def test_it_is_refused(observed: Observed, wanted: dict[str, Any], found: str) -> None:
    with pytest.raises(BatonError, match="nothing was touched") as refusal:
        plan_migrate(observed, **{"migrator": "app1", **wanted})
    assert found in str(refusal.value)


def test_a_migration_is_no_step_on_the_way_of_a_version() -> None:
    """Neither one that has ended nor one that was cut off is what a rollback goes back from or to."""
    runs = [ran("v2", "unfinished", action="migrate", source="v2"), ran("v2", source="v1"), ran("v1")]
    observed = world("green", slot("v1"), slot("v2"), *runs)
    assert (plan_rollback(observed).version, plan_rollback(observed).mode) == ("v1", "hot")


def undone(version: str, source: str, *revisions: str) -> dict[str, Any]:
    return {**ran(version, "migrated", action="migrate", source=source), "undone": list(revisions)}


def applied(version: str, *revisions: str, contract: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    return {**ran(version, contract=contract, **more), "applied": list(revisions)}


BACK = [ran("v1", action="rollback", source="v2"), applied("v2", "0002", source="v1"), applied("v1", "0001")]
TAKEN_BACK = world("blue", slot("v1"), slot("v2"), undone("v2", "v1", "0002"), *BACK)


def test_what_has_lost_its_schema_is_neither_hot_nor_a_way_back() -> None:
    assert plan_release(TAKEN_BACK, version="v2", sha256=SHA).mode == "forward"
    with pytest.raises(BatonError, match="0002 undone since v2 was live"):
        plan_rollback(TAKEN_BACK, version="v2")
    assert plan_release(world("blue", slot("v1"), slot("v2"), *BACK), version="v2", sha256=SHA).mode == "hot"


def test_what_never_had_it_has_lost_nothing() -> None:
    runs = [applied("v3", "0003", source="v1"), undone("v2", "v1", "0002"), *BACK]
    hosts = {name: host(slot("v1"), slot("v3")) for name in HOSTS}
    assert plan_rollback(Observed({"lb1": balancer("green")}, hosts, journal(*runs))).version == "v1"


def test_what_was_applied_again_is_not_lost() -> None:
    again = {**applied("v2", "0002", action="migrate", source="v1"), "outcome": "migrated"}
    observed = world("blue", slot("v1"), slot("v2"), again, undone("v2", "v1", "0002"), *BACK)
    assert plan_release(observed, version="v2", sha256=SHA).mode == "hot"


@pytest.mark.parametrize(
    ("runs", "refused"),
    [
        pytest.param([applied("v2", "7", contract=("7",), source="v1"), ran("v1")], True, id="applied by the release"),
        pytest.param(
            [{**applied("v2", "7", contract=("7",), action="migrate"), "outcome": "migrated"}, ran("v2"), ran("v1")],
            True,
            id="applied by a migration after it",
        ),
        pytest.param(
            [undone("v2", "v2", "7"), applied("v2", "7", contract=("7",), source="v1"), ran("v1")], False, id="undone"
        ),
        pytest.param(
            [
                applied("v2", "7", contract=("7",), action="migrate"),
                undone("v2", "v2", "7"),
                applied("v2", "7", contract=("7",), source="v1"),
                ran("v1"),
            ],
            True,
            id="undone, and applied again",
        ),
        pytest.param(
            [applied("v1", "7", contract=("7",), action="migrate"), ran("v2", source="v1"), ran("v1")],
            False,
            id="from its own tree",
        ),
        pytest.param(
            [
                ran("v1", "abandoned", action="rollback", source="v2"),
                applied("v2", "7", contract=("7",), source="v1"),
                ran("v1"),
            ],
            True,
            id="a way back that failed proves nothing",
        ),
    ],
)
def test_the_way_back_past_a_contract_migration(runs: list[dict[str, Any]], refused: bool) -> None:
    observed = world("green", slot("v1"), slot("v2"), *runs)
    if refused:
        with pytest.raises(BatonError, match="v2 applied 7, a schema change that v1 does not survive"):
            plan_rollback(observed, version="v1")
    else:
        assert plan_rollback(observed, version="v1").version == "v1"
