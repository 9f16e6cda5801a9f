"""Hosts that a release leaves out, and how they come back: proven, slot by slot, and never with an old version."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.answers import observed_from
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.observed import Observed
from ansible_collections.baton.release.plugins.module_utils.plan import Plan
from ansible_collections.baton.release.plugins.module_utils.plan_migrate import plan_migrate
from ansible_collections.baton.release.plugins.module_utils.plan_release import plan_release
from ansible_collections.baton.release.plugins.module_utils.plan_rollback import plan_rollback
from ansible_collections.baton.release.plugins.module_utils.plan_text import describe
from ansible_collections.baton.release.plugins.module_utils.rollout import Rollout
from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS
from ansible_collections.baton.release.plugins.module_utils.status_text import describe_status

from tests.unit.plugins.module_utils.test_plan import SHA, host, journal, ran, slot

HOSTS = ("app1", "app2", "app3")
WHY = "its disk is broken"
DEAD = {"app3": WHY}
BOTH = {"blue": DEAD, "green": DEAD}
NOBODY: dict[str, dict[str, str]] = {"blue": {}, "green": {}}
OLD = host(slot("v0"), slot("v0"), {"v0": True})
"""A host that was away for long: both slots hold a version that nobody else has any more."""


def balancer(
    live: str, held: dict[str, dict[str, str]] | None = None, states: dict[str, dict[str, str]] | None = None
) -> dict[str, Any]:
    """Return what an HAProxy says that holds these hosts in maintenance, or has its servers in these states."""
    held = held or NOBODY
    own = {name: {one: "maint" if one in held[name] else "ready" for one in HOSTS} for name in SLOTS}
    seats = dict.fromkeys(HOSTS, live) if live != "none" else {}
    return {
        "live": live,
        "previous": "none",
        "answering": True,
        "pools": {name: {"servers": [f"{one}:1" for one in HOSTS], "up": []} for name in SLOTS},
        "seats": seats,
        "server_states": states or own,
        "excluded": held,
    }


def world(
    *balancers: dict[str, Any], third: dict[str, Any] | None = OLD, excluded: dict[str, str] | None = None
) -> Observed:
    """Green is live with v2, and blue has v1; app3 is what is given, or not asked."""
    hosts = {name: host(slot("v1"), slot("v2")) for name in HOSTS[:2]}
    return Observed(
        {f"lb{number}": one for number, one in enumerate(balancers, 1)},
        {**hosts, **({"app3": third} if third else {})},
        journal(ran("v2", source="v1"), ran("v1")),
        excluded or {},
    )


FIRST = world(balancer("green"), balancer("green"), third=None, excluded=DEAD)
STILL = world(balancer("green", BOTH), balancer("green", BOTH), third=None, excluded=DEAD)
COMES_BACK = world(balancer("green", BOTH), balancer("green", BOTH))
BACK_IN_GREEN = {"blue": DEAD, "green": {}}


def released(observed: Observed, version: str = "v3", **more: Any) -> Plan:
    return plan_release(observed, version=version, sha256=SHA, **more)


def text(plan: Plan) -> str:
    return " ".join(" ".join(describe(plan, app_name="shop", step_notes={})).split())


def test_an_excluded_host_is_held_out_before_anything_else_and_takes_part_in_nothing() -> None:
    plan = released(FIRST)
    assert plan.steps == ["exclude", "stage", "start", "prove", "switch", "verify", "watch"]
    assert (plan.hosts, plan.excluded, plan.lost) == (["app1", "app2"], DEAD, {})
    assert (plan.held_out, plan.to_tell) == (BOTH, ["lb1", "lb2"])
    parts = plan.parts(state_host="lb1")
    assert parts["app3"] == []
    assert parts["lb2"][0] == "exclude"
    assert (plan.version, plan.from_version, plan.way_back) == ("v3", "v2", "hot")
    assert f"left out app3 (excluded: {WHY}); put into maintenance at lb1, lb2 first" in text(plan)


def test_a_host_that_is_held_out_already_is_not_held_out_again() -> None:
    plan = released(STILL)
    assert "exclude" not in plan.steps
    assert "exclude" in released(world(balancer("green", BOTH), balancer("green"), third=None, excluded=DEAD)).steps
    other = released(replace(STILL, excluded={"app3": "another reason"}))
    assert other.to_tell == ["lb1", "lb2"]
    assert f"left out app3 (excluded: {WHY})" in text(plan)
    assert "first" not in text(plan)


def test_a_host_is_excluded_also_where_nothing_else_is_to_be_done() -> None:
    plan = released(FIRST, "v2")
    assert (plan.mode, plan.steps, plan.way_back) == ("nothing", ["exclude"], "hot")
    assert released(STILL, "v2").steps == []


def test_no_capacity_is_counted_of_an_excluded_host() -> None:
    for observed in (FIRST, STILL):
        surge, in_place = (released(observed, rollout=Rollout("rolling", *how)).rolling for how in ("10", "01"))
        assert surge is not None
        assert in_place is not None
        assert (surge.batches, surge.floor) == ([["app1"], ["app2"]], 2)
        assert in_place.floor == 1
    with pytest.raises(BatonError, match="2 of 2 app hosts"):
        released(FIRST, rollout=Rollout("rolling", "0", "2"))


def test_what_comes_back_is_proven_in_the_idle_slot_and_let_in_there_only() -> None:
    plan = released(COMES_BACK)
    assert plan.steps == ["stage", "start", "prove", "readmit", "switch", "verify", "watch"]
    assert (plan.hosts, plan.returning, plan.absent) == (list(HOSTS), ["app3"], ["app3"])
    # What it has in the live slot counts for nothing there, and stays held out.
    assert (plan.from_version, plan.way_back, plan.held_out) == ("v2", "hot", {"blue": {}, "green": DEAD})
    assert plan.parts(state_host="lb1")["app3"] == ["stage", "start"]
    assert "comes back app3, when proven; excluded until then" in text(plan)


def test_a_version_that_is_live_is_staged_on_what_comes_back_and_on_nobody_else() -> None:
    plan = released(COMES_BACK, "v2")
    assert (plan.mode, plan.target_slot, plan.from_version) == ("rejoin", "green", "v1")
    assert plan.steps == ["stage", "start", "prove", "readmit", "verify"]
    parts = plan.parts(state_host="lb1")
    assert (parts["app3"], parts["app1"]) == (["stage", "start"], [])
    assert plan.sha256 == SHA
    assert plan_release(COMES_BACK, version="v2", sha256="b" * 64).sha256 == SHA
    assert "rejoin: v2 is live in green and proven" in text(plan)


def test_a_version_that_runs_hot_is_staged_on_what_comes_back_and_then_let_in() -> None:
    plan = released(COMES_BACK, "v1")
    assert plan.mode == "hot"
    assert plan.steps == ["stage", "start", "prove", "readmit", "switch", "verify", "watch"]
    assert plan.parts(state_host="lb1")["app1"] == []
    assert plan.parts(state_host="lb1")["app3"] == ["stage", "start"]


def test_cut_off_while_hosts_are_let_in_the_same_command_goes_on() -> None:
    plan = released(world(balancer("green", BACK_IN_GREEN), balancer("green", BOTH)), "v2")
    assert (plan.mode, plan.returning) == ("rejoin", ["app3"])
    # Until it is let in everywhere, it counts for nothing anywhere.
    assert plan.from_version == "v1"


def test_a_resumed_release_also_proves_what_comes_back() -> None:
    unproven = replace(COMES_BACK, journal=journal(ran("v2", "unfinished", source="v1"), ran("v1")))
    plan = released(unproven, "v2")
    assert plan.steps == ["stage", "start", "prove", "readmit", "switch", "verify", "watch"]
    assert (plan.mode, plan.from_slot) == ("resume", "blue")
    rolling = released(unproven, "v2", rollout=Rollout("rolling", "0", "1"))
    assert "roll" not in rolling.steps


def test_in_a_rolling_update_what_comes_back_is_first_and_no_capacity_until_then() -> None:
    plan = released(COMES_BACK, rollout=Rollout("rolling"))
    assert plan.rolling is not None
    assert (plan.rolling.batches, plan.rolling.floor) == ([["app3"], ["app1"], ["app2"]], 2)
    assert plan.steps == ["stage", "roll", "verify", "watch"]


def test_an_old_version_that_comes_back_is_part_of_no_rollback() -> None:
    for observed in (COMES_BACK, STILL):
        plan = plan_rollback(observed)
        assert (plan.mode, plan.version, plan.target_slot) == ("hot", "v1", "blue")
        assert (plan.hosts, plan.returning, plan.steps) == (
            ["app1", "app2"],
            [],
            ["prove", "switch", "verify"],
        )
        assert plan.parts(state_host="lb1")["app3"] == []
    assert plan_rollback(COMES_BACK).lost == {"app3": f"excluded: {WHY}"}


def test_a_rollback_holds_a_host_out_where_a_load_balancer_does_not_yet() -> None:
    half = world(balancer("green", BOTH), balancer("green"))
    plan = plan_rollback(half)
    assert (plan.steps, plan.to_tell) == (["exclude", "prove", "switch", "verify"], ["lb2"])
    assert (plan.held_out, plan.hosts) == (BOTH, ["app1", "app2"])
    assert plan_rollback(FIRST).steps == ["exclude", "prove", "switch", "verify"]


def test_a_version_that_is_staged_again_is_not_needed_on_a_host_that_is_away() -> None:
    bad = {
        name: host(slot("v3", current=False, verified=False), slot("v2"), {"v1": True, "v2": True, "v3": False})
        for name in HOSTS[:2]
    }
    observed = replace(COMES_BACK, hosts={**bad, "app3": OLD})
    plan = plan_rollback(observed)
    assert (plan.mode, plan.version, plan.hosts) == ("warm", "v1", ["app1", "app2"])


def test_what_somebody_took_out_by_hand_is_still_theirs() -> None:
    by_hand = {"blue": dict.fromkeys(HOSTS, "ready"), "green": {**dict.fromkeys(HOSTS, "ready"), "app1": "maint"}}
    observed = world(balancer("green", states=by_hand), third=host(slot("v1"), slot("v2")))
    with pytest.raises(BatonError, match=r"app1 in green at lb1 \(maint\).*release_excluded_hosts"):
        released(observed)
    assert released(
        replace(
            world(balancer("green", states=by_hand), third=None),
            excluded={"app1": WHY},
            hosts={"app2": COMES_BACK.hosts["app2"]},
        )
    ).hosts == ["app2"]


@pytest.mark.parametrize(
    ("observed", "found"),
    [
        pytest.param(
            Observed(
                {"lb1": {**balancer("green"), "server_states": {}, "excluded": {}}}, FIRST.hosts, FIRST.journal, DEAD
            ),
            r"app3 \(its disk is broken\); and at lb1 no single server can be held in maintenance",
            id="a load balancer that cannot",
        ),
        pytest.param(
            replace(
                COMES_BACK,
                hosts={"app3": OLD},
                excluded={"app1": WHY, "app2": WHY},
            ),
            "in green, which traffic reaches, app3 excluded before.*bring app3 back first",
            id="nobody would be left who serves",
        ),
        pytest.param(
            replace(FIRST, hosts={**FIRST.hosts, "app2": {"lost": "unreachable"}}),
            r"app2 \(unreachable\).*release_excluded_hosts",
            id="another host is lost",
        ),
    ],
)
def test_it_is_refused(observed: Observed, found: str) -> None:
    with pytest.raises(BatonError, match=found):
        released(observed)


def test_the_migrator_cannot_be_excluded() -> None:
    with pytest.raises(BatonError, match="the migrator is app3, which is to be excluded"):
        released(FIRST, migrator="app3")
    with pytest.raises(BatonError, match=r"the migrator is app3, which is excluded \(its disk is broken\)"):
        plan_migrate(FIRST, what="status", migrator="app3", version="", revision="", sha256="")
    plan = plan_migrate(FIRST, what="status", migrator="app1", version="", revision="", sha256="")
    assert plan.parts(state_host="lb1")["app3"] == []


def test_what_an_excluded_host_would_have_said_is_not_looked_at() -> None:
    skipped = {"skipped": True, "msg": "Conditional result was False"}
    observed = observed_from({"lb1": balancer("green")}, {**COMES_BACK.hosts, "app3": skipped}, {"runs": []}, DEAD)
    assert (sorted(observed.hosts), observed.lost(), observed.excluded) == (["app1", "app2"], {}, DEAD)


def test_the_status_names_them_with_the_reason_and_where_they_are_not_held_yet() -> None:
    def status(observed: Observed) -> str:
        runs = [{**run, "token": 1} for run in observed.journal["runs"]]
        whole = replace(observed, journal={**observed.journal, "runs": runs, "lease": {"token": 2, "owner": ""}})
        return " ".join(describe_status(whole, app_name="shop", schema={}, now=0.0).split())

    assert f"left out app3: excluded ({WHY}), but not held in maintenance in blue at lb1, green at lb1, blue" in status(
        FIRST
    )
    assert f"left out app3: excluded ({WHY}) slots" in status(STILL)
    assert "app3 not asked" in status(STILL)
    assert f"left out app3: out of blue and green ({WHY}), until a release brings it back there" in status(COMES_BACK)
    assert "way back hot: v1 runs in blue" in status(COMES_BACK)
