"""Traffic in steps, as a table of situations: when there are steps, and what becomes of a share that an interrupted run has left."""

from __future__ import annotations

import pytest
from ansible_collections.baton.release.plugins.module_utils.observed import Observed
from ansible_collections.baton.release.plugins.module_utils.plan import Plan
from ansible_collections.baton.release.plugins.module_utils.plan_release import plan_release
from ansible_collections.baton.release.plugins.module_utils.plan_rollback import plan_rollback
from ansible_collections.baton.release.plugins.module_utils.plan_text import describe
from ansible_collections.baton.release.plugins.module_utils.rollout import Rollout
from ansible_collections.baton.release.plugins.module_utils.status_text import describe_status

from tests.unit.plugins.module_utils.test_plan import (
    FIRST_DONE,
    FRESH,
    HOSTS,
    SECOND_DONE,
    SHA,
    balancer,
    host,
    journal,
    ran,
    slot,
    world,
)

STEPS = Rollout(steps=(5, 25, 50))
NOW = 1000.0


def stepping(shares: dict[str, int], outcome: str = "unfinished") -> Observed:
    """v2 in steps beside v1, and the run has ended in the middle; each balancer has its share."""
    pools = {one: {"up": ["a:1"], "servers": ["a:1", "b:1"]} for one in ("blue", "green")}
    return Observed(
        {name: {**balancer("blue"), "share": share, "pools": pools} for name, share in shares.items()},
        {name: host(slot("v1"), slot("v2", verified=False)) for name in HOSTS},
        {
            **journal({**ran("v2", outcome, source="v1"), "token": 2}, {**ran("v1"), "token": 1}),
            "lease": {"token": 2, "owner": ""},
        },
    )


def text(plan: Plan) -> str:
    return " ".join(" ".join(describe(plan, app_name="shop", step_notes={"share": "watched for 5 s"})).split())


@pytest.mark.parametrize(
    ("observed", "version", "rollout", "steps"),
    [
        pytest.param(FIRST_DONE, "v2", STEPS, [5, 25, 50], id="forward"),
        pytest.param(SECOND_DONE, "v1", STEPS, [5, 25, 50], id="to a proven version that still runs"),
        pytest.param(FIRST_DONE, "v2", Rollout(), [], id="none are set"),
        pytest.param(FRESH, "v1", STEPS, [], id="nothing is live that the other clients could stay at"),
        pytest.param(FIRST_DONE, "v1", STEPS, [], id="it is live"),
        pytest.param(
            Observed(
                {"lb1": {**balancer("mixed"), "seats": dict(zip(HOSTS, ("green", "blue"), strict=True))}},
                {name: host(slot("v1"), slot("v2", verified=False)) for name in HOSTS},
                journal(ran("v2", "unfinished", source="v1"), ran("v1")),
            ),
            "v2",
            STEPS,
            [],
            id="an interrupted rolling update is finished with another strategy",
        ),
        pytest.param(
            world("green", slot("v1"), slot("v2", verified=False), ran("v2", "unfinished", source="v1"), ran("v1")),
            "v2",
            STEPS,
            [],
            id="all traffic has moved already",
        ),
        pytest.param(
            Observed({"lb1": balancer("green"), "lb2": {**balancer("blue"), "share": 50}}, SECOND_DONE.hosts, {}),
            "v2",
            STEPS,
            [],
            id="all traffic has moved already on one of two balancers",
        ),
    ],
)
def test_when_there_are_steps(observed: Observed, version: str, rollout: Rollout, steps: list[int]) -> None:
    plan = plan_release(observed, version=version, sha256=SHA, rollout=rollout)
    assert plan.traffic_steps == steps
    assert ("share" in plan.steps) == bool(steps)
    assert "settle" not in plan.steps


def test_the_steps_come_between_the_proof_and_the_switch_and_are_said() -> None:
    plan = plan_release(FIRST_DONE, version="v2", sha256=SHA, rollout=STEPS)
    assert plan.steps == ["stage", "start", "prove", "share", "switch", "verify", "watch"]
    assert "share" in plan.parts(state_host="app1")["app1"]
    assert "share" not in plan.parts(state_host="app1")["app2"]
    said = text(plan)
    assert "forward in steps: green is staged" in said
    assert "clients 5 % > 25 % > 50 % > all" in said
    assert "share watched for 5 s" in said
    assert "clients" not in text(plan_release(FIRST_DONE, version="v2", sha256=SHA)).split("way back")[0]


@pytest.mark.parametrize("shares", [{"lb1": 25}, {"lb1": 25, "lb2": 5}, {"lb1": 0, "lb2": 5}])
@pytest.mark.parametrize(
    ("version", "rollout"),
    [
        pytest.param("v2", STEPS, id="the same command"),
        pytest.param("v2", Rollout(), id="all at once this time"),
        pytest.param("v3", STEPS, id="another version"),
        pytest.param("v3", Rollout("rolling"), id="another version, rolling"),
    ],
)
def test_a_share_is_taken_back_before_anything_is_installed(
    shares: dict[str, int], version: str, rollout: Rollout
) -> None:
    observed = stepping(shares)
    if rollout.rolling:
        seats = {name: {**one, "seats": dict.fromkeys(HOSTS, "blue")} for name, one in observed.balancers.items()}
        observed = Observed(seats, observed.hosts, observed.journal)
    plan = plan_release(observed, version=version, sha256=SHA, rollout=rollout)
    assert (plan.mode, plan.target_slot, plan.from_slot) == ("forward", "green", "blue")
    assert plan.steps[:2] == ["settle", "stage"]
    assert all("settle" in plan.parts(state_host="app1")[name] for name in shares)
    assert "it is taken back first" in text(plan)
    assert f"lb2 ({shares.get('lb2')} % of the clients)" in text(plan) or "lb2" not in shares


def test_a_proven_version_is_not_gone_on_with_in_the_middle_of_its_steps() -> None:
    observed = stepping({"lb1": 25})
    proven = Observed(observed.balancers, SECOND_DONE.hosts, SECOND_DONE.journal)
    plan = plan_release(proven, version="v2", sha256=SHA, rollout=STEPS)
    assert plan.steps[:3] == ["settle", "prove", "share"]
    assert plan_release(proven, version="v2", sha256=SHA).steps[:2] == ["prove", "switch"]


def test_with_a_share_beside_it_what_is_live_is_not_called_done() -> None:
    plan = plan_release(stepping({"lb1": 25}, "unknown"), version="v1", sha256=SHA, rollout=STEPS)
    assert (plan.mode, plan.target_slot, plan.steps) == ("resume", "blue", ["switch", "verify", "watch"])


@pytest.mark.parametrize("outcome", ["unfinished", "unknown", "failed"])
@pytest.mark.parametrize("version", ["", "v1"])
def test_a_rollback_takes_the_share_back_and_goes_no_further(outcome: str, version: str) -> None:
    plan = plan_rollback(stepping({"lb1": 25, "lb2": 5}, outcome), version=version)
    assert (plan.version, plan.mode, plan.target_slot) == ("v1", "stay", "blue")
    assert plan.steps == ["settle", "prove", "switch", "verify"]
    assert "stay: v1 is live in blue; the clients that reach the other slot are taken back" in text(plan)


def test_a_rollback_goes_on_without_a_balancer_that_is_lost() -> None:
    observed = stepping({"lb1": 25})
    lost = Observed({**observed.balancers, "lb2": {"lost": "unreachable"}}, observed.hosts, observed.journal)
    assert (plan_rollback(lost).version, plan_rollback(lost).balancers) == ("v1", ["lb1"])


def test_the_status_shows_each_share_and_that_they_disagree() -> None:
    said = " ".join(describe_status(stepping({"lb1": 25, "lb2": 5}), app_name="shop", schema={}, now=NOW).split())
    assert "lb1: blue (v1), 1 of 2 servers up; 25 % of the clients reach green (v2), 1 of 2 servers up" in said
    assert "lb2: blue (v1), 1 of 2 servers up; 5 % of the clients reach green (v2), 1 of 2 servers up" in said
    assert "the load balancers disagree about the share" in said
    assert "stay: v1 is live in blue; the share of the clients in the other slot is taken back" in said
    said = describe_status(stepping({"lb1": 25, "lb2": 25}), app_name="shop", schema={}, now=NOW)
    assert "disagree" not in said
