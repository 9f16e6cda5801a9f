"""What a rollback undoes in the database: what first, what last, and when it is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.observed import Observed
from ansible_collections.baton.release.plugins.module_utils.plan import Plan
from ansible_collections.baton.release.plugins.module_utils.plan_rollback import plan_rollback
from ansible_collections.baton.release.plugins.module_utils.plan_text import describe
from ansible_collections.baton.release.plugins.module_utils.plan_undo import Undoable, plan_undo, undoing

from tests.unit.plugins.module_utils.test_plan import LOST, SECOND_DONE, ran, slot, world


def one(revision: str, phase: str = "expand", down: str = "yes") -> dict[str, str]:
    return {"revision": revision, "phase": phase, "down": down}


def decided(observed: Observed, *undone: dict[str, str], version: str = "", past_contract: bool = False) -> Plan:
    """Plan a rollback with the database, as the action does it in two calls."""
    plan = undoing(plan_rollback(observed, version=version, past_contract=True), observed, "app1")
    return plan_undo(plan, observed, Undoable(["0001"], undone), past_contract=past_contract)


def told(plan: Plan) -> tuple[list[str], str, list[str]]:
    assert plan.undo
    return (plan.undo.first, plan.undo.to, plan.undo.last)


MEASURED = world("green", slot("v1"), slot("v2"), ran("v2", source="v1", contract=("0003",)), ran("v1"))


@pytest.mark.parametrize(
    ("observed", "undone", "expected"),
    [
        pytest.param(SECOND_DONE, [], ([], "", []), id="nothing on top"),
        pytest.param(SECOND_DONE, ["0003", "0002"], ([], "", ["0003", "0002"]), id="what was added goes last"),
        pytest.param(
            MEASURED, ["0004", "0003", "0002"], (["0004", "0003"], "0002", ["0002"]), id="what is measured goes first"
        ),
        pytest.param(MEASURED, ["0003"], (["0003"], "", []), id="and with it all that there is"),
    ],
)
def test_what_goes_first_and_what_last(
    observed: Observed, undone: list[str], expected: tuple[list[str], str, list[str]]
) -> None:
    plan = decided(observed, *map(one, undone))
    assert told(plan) == expected
    steps = plan.steps
    assert ("undo_first" in steps, "undo_last" in steps) == (bool(expected[0]), bool(expected[2]))
    assert not expected[0] or steps.index("undo_first") < steps.index("switch")
    assert not expected[2] or steps[-1] == "undo_last"
    assert plan.parts(state_host="lb1")["app1"][-1:] == (
        steps[-1:] if expected[2] else ["undo_first"] * bool(expected[0])
    )


def test_a_phase_in_the_file_counts_as_well() -> None:
    plan = decided(SECOND_DONE, one("0003"), one("0002", "contract"))
    assert told(plan) == (["0003", "0002"], "", [])
    text = "\n".join(describe(plan, app_name="shop", step_notes={}))
    assert "undo first 0003, 0002, before v1 starts to serve, from the tree of v2" in text


def test_a_way_down_that_does_nothing_is_refused() -> None:
    with pytest.raises(BatonError, match="way down does nothing: 0002"):
        decided(SECOND_DONE, one("0003"), one("0002", down="empty"))


def test_a_contract_migration_that_stays_is_refused() -> None:
    with pytest.raises(BatonError, match="v2 applied 0003, which v1 does not survive"):
        decided(MEASURED, one("0004"))
    assert told(decided(MEASURED, one("0004"), past_contract=True)) == ([], "", ["0004"])


def test_what_is_undone_already_is_in_nobodys_way() -> None:
    plan = undoing(plan_rollback(MEASURED, past_contract=True), MEASURED, "app1")
    again = plan_undo(plan, MEASURED, Undoable(["0001"], [one("0002")], missing=["0003"]), past_contract=False)
    assert told(again) == ([], "", ["0002"])


def test_the_way_back_from_a_schema_that_was_taken_back_is_a_release() -> None:
    assert decided(SECOND_DONE).way_back == "hot"
    plan = decided(SECOND_DONE, one("0002"))
    assert plan.way_back == "release"
    assert "v2 needs its schema again" in "\n".join(describe(plan, app_name="shop", step_notes={}))


def test_an_undo_is_not_begun_beside_requests_of_the_version_that_needs_it() -> None:
    """The switch waits for them, also in a run in which it has nothing to switch."""
    observed = world("blue", slot("v1"), slot("v2", verified=False), *RETURNED)
    assert decided(observed, one("0002"), version="v1").steps == ["switch", "undo_last"]
    assert decided(observed, version="v1").steps == []


INTERRUPTED = [ran("v2", "unfinished", source="v1"), ran("v1")]
RETURNED = [ran("v1", action="rollback", source="v2"), ran("v2", source="v1"), ran("v1")]


@pytest.mark.parametrize(
    ("runs", "version", "mode"),
    [
        pytest.param(INTERRUPTED, "", "stay", id="a release that was interrupted before traffic moved"),
        pytest.param(RETURNED, "v1", "nothing", id="run again, when only the schema is left"),
    ],
)
def test_where_traffic_is_back_already_only_the_schema_is_left(
    runs: list[dict[str, Any]], version: str, mode: str
) -> None:
    observed = world("blue", slot("v1"), slot("v2", verified=False), *runs)
    plan = decided(observed, one("0002"), version=version)
    assert plan.undo
    assert (plan.mode, plan.undo.tree, plan.undo.last) == (mode, "v2", ["0002"])
    assert "undo_last" in plan.steps
    assert any("undo last" in line for line in describe(plan, app_name="shop", step_notes={}))


@pytest.mark.parametrize(
    ("observed", "found"),
    [
        pytest.param(
            world("green", slot("v1"), slot("v2"), ran("v2", source="v1"), ran("v1"), releases={"v1": True}),
            "v2 not installed on app1",
            id="the tree that undoes is gone",
        ),
        pytest.param(
            Observed(SECOND_DONE.balancers, {**SECOND_DONE.hosts, "app1": LOST}, SECOND_DONE.journal),
            "without an answer: app1 (unreachable)",
            id="an app host may still serve what needs the schema",
        ),
        pytest.param(
            Observed({**SECOND_DONE.balancers, "lb2": LOST}, SECOND_DONE.hosts, SECOND_DONE.journal),
            "without an answer: lb2 (unreachable)",
            id="a load balancer may still lead there",
        ),
        pytest.param(
            Observed(SECOND_DONE.balancers, SECOND_DONE.hosts, LOST),
            "without an answer: the journal (unreachable)",
            id="nobody could note it",
        ),
    ],
)
def test_it_is_refused_before_the_schema_is_read(observed: Observed, found: str) -> None:
    with pytest.raises(BatonError, match="nothing was touched") as refusal:
        undoing(plan_rollback(observed, version="v1"), observed, "app1")
    assert found in str(refusal.value)
