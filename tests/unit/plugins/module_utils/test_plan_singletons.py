"""Where the singletons end and begin, from what is there: never two of one, whatever a run before has left."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.observed import Observed
from ansible_collections.baton.release.plugins.module_utils.plan import Plan, Singletons
from ansible_collections.baton.release.plugins.module_utils.plan_release import plan_release
from ansible_collections.baton.release.plugins.module_utils.plan_rollback import plan_rollback
from ansible_collections.baton.release.plugins.module_utils.plan_singletons import with_singletons
from ansible_collections.baton.release.plugins.module_utils.plan_text import describe
from ansible_collections.baton.release.plugins.module_utils.rollout import Rollout
from ansible_collections.baton.release.plugins.module_utils.singleton_settings import singletons_of
from ansible_collections.baton.release.plugins.module_utils.status_text import describe_status

from tests.unit.plugins.module_utils.test_plan import HOSTS, SHA, balancer, host, journal, ran, slot

POOLS = {colour: {"up": ["a:1"], "servers": ["a:1", "b:1"]} for colour in ("blue", "green")}
MAILER = {"command": ["bin/mailer"]}
GIVEN = {"mailer": MAILER}
DIGESTS = {name: one.digest for name, one in singletons_of(GIVEN).items() if one}
FIRST = journal(ran("v1"))
SECOND = journal(ran("v2", source="v1"), ran("v1"))


def one(slot_name: str = "blue", version: str = "v1", name: str = "mailer", **more: Any) -> dict[str, Any]:
    """What a host says of a singleton."""
    return {
        "name": name,
        "slot": slot_name,
        "version": version,
        "digest": DIGESTS["mailer"],
        "state": "running",
        **more,
    }


def world(
    live: str,
    alone: dict[str, list[dict[str, Any]]],
    known: dict[str, dict[str, dict[str, str]]] | None = None,
    *,
    green: dict[str, Any] | None = None,
    runs: dict[str, Any] = FIRST,
    **more: Any,
) -> Observed:
    """Two hosts with v1 in blue; ``alone`` and ``known`` say for some what runs there, and what their slots remember."""
    hosts = {}
    for name in HOSTS:
        slots = {
            colour: {**one_slot, "singletons": (known or {}).get(name, {}).get(colour)}
            for colour, one_slot in (("blue", slot("v1")), ("green", green or slot()))
        }
        hosts[name] = {**host(slots["blue"], slots["green"]), "singletons": alone.get(name, [])}
    return Observed({"lb1": balancer(live)}, hosts, runs, **more)


def release(observed: Observed, version: str, given: dict[str, Any] | None = None) -> Plan:
    return with_singletons(
        plan_release(observed, version=version, sha256=SHA), observed, GIVEN if given is None else given
    )


def rollback(observed: Observed, version: str = "", given: dict[str, Any] | None = None) -> Plan:
    return with_singletons(plan_rollback(observed, version=version), observed, GIVEN if given is None else given)


def of(plan: Plan) -> Singletons:
    assert plan.singletons is not None
    return plan.singletons


def text(plan: Plan) -> str:
    lines = describe(plan, app_name="shop", step_notes={})
    return next((line.strip() for line in lines if line.startswith("  singletons")), "")


V2 = slot("v2", verified=False)
V2_DONE = slot("v2")
RUNS_V1 = {"app1": [one()]}
RUNS_V2 = {"app1": [one("green", "v2")]}
KNOWS_V1 = {"app1": {"blue": DIGESTS}}
KNOWS_BOTH = {"app1": {"blue": DIGESTS, "green": DIGESTS}}


def test_they_end_before_the_traffic_moves_and_begin_after_it() -> None:
    plan = release(world("blue", RUNS_V1, KNOWS_V1), "v2")
    its = of(plan)
    assert plan.steps == ["stage", "start", "prove", "stop_singletons", "switch", "start_singletons", "verify", "watch"]
    assert (its.ends, its.begins, its.start) == (
        {"app1": ["mailer of v1 in blue"]},
        {"app1": ["mailer"]},
        {"app1": ["mailer"]},
    )
    assert (its.back_slot, its.back_version, its.back, its.as_before) == ("blue", "v1", {"app1": ["mailer"]}, False)
    assert text(plan) == (
        "singletons stopped before traffic moves: mailer of v1 in blue on app1; started after it: mailer on app1, of v2"
    )
    parts = plan.parts(state_host="lb1")
    assert "start_singletons" in parts["app1"]
    assert {"stop_singletons", "start_singletons"}.isdisjoint(parts["lb1"])


def test_in_steps_they_end_before_the_last_of_them_only() -> None:
    observed = world("blue", RUNS_V1, KNOWS_V1)
    plan = plan_release(observed, version="v2", sha256=SHA, rollout=Rollout("blue_green", "1", "0", [10]))
    steps = with_singletons(plan, observed, GIVEN).steps
    assert steps[steps.index("share") :][:4] == ["share", "stop_singletons", "switch", "start_singletons"]


def test_batch_by_batch_they_end_after_the_last_one() -> None:
    observed = world("blue", RUNS_V1, KNOWS_V1)
    observed = replace(observed, balancers={"lb1": {**balancer("blue"), "seats": dict.fromkeys(HOSTS, "blue")}})
    plan = plan_release(observed, version="v2", sha256=SHA, rollout=Rollout("rolling", "1", "0"))
    steps = with_singletons(plan, observed, GIVEN).steps
    assert steps == ["stage", "roll", "stop_singletons", "start_singletons", "verify", "watch"]


def test_without_any_nothing_is_planned_for_them() -> None:
    for observed in (world("blue", {}), Observed({"lb1": balancer("blue")}, {"app1": host(slot("v1"), slot())}, FIRST)):
        plan = release(observed, "v2", {})
        assert plan.singletons is None
        assert plan.steps == ["stage", "start", "prove", "switch", "verify", "watch"]
        assert text(plan) == ""


@pytest.mark.parametrize(
    ("alone", "given", "ends", "begins"),
    [
        pytest.param(RUNS_V1, GIVEN, {}, {}, id="all as it should be"),
        pytest.param({}, GIVEN, {}, {"app1": ["mailer"]}, id="it was stopped, or never started"),
        pytest.param(RUNS_V1, {}, {"app1": ["mailer of v1 in blue"]}, {}, id="it was removed from the settings"),
        pytest.param(
            RUNS_V1, {"poster": MAILER}, {"app1": ["mailer of v1 in blue"]}, {"app1": ["poster"]}, id="it was renamed"
        ),
        pytest.param(
            RUNS_V1,
            {"mailer": {"command": ["bin/other"]}},
            {"app1": ["mailer of v1 in blue"]},
            {"app1": ["mailer"]},
            id="its command was changed",
        ),
        pytest.param(
            RUNS_V1,
            {"mailer": {**MAILER, "host": "app2"}},
            {"app1": ["mailer of v1 in blue"]},
            {"app2": ["mailer"]},
            id="it was moved to another host",
        ),
        pytest.param(
            {"app1": [one(state="failing")]},
            GIVEN,
            {"app1": ["mailer of v1 in blue"]},
            {"app1": ["mailer"]},
            id="it crashes again and again",
        ),
        pytest.param(
            {"app1": [one()], "app2": [one()]}, GIVEN, {"app2": ["mailer of v1 in blue"]}, {}, id="there are two"
        ),
        pytest.param(
            {"app1": [one(), one("green", "v2")]},
            GIVEN,
            {"app1": ["mailer of v2 in green"]},
            {},
            id="one of each version",
        ),
    ],
)
def test_released_again_what_is_live_has_the_ones_that_it_should_have(
    alone: dict[str, Any], given: dict[str, Any], ends: dict[str, Any], begins: dict[str, Any]
) -> None:
    plan = release(world("blue", alone, KNOWS_V1), "v1", given)
    assert plan.mode == "nothing"
    assert (of(plan).ends, of(plan).begins) == (ends, begins)
    assert plan.steps == (["stop_singletons", "start_singletons"] if ends or begins else [])
    # Without traffic to take back, what comes back is what is live as well.
    assert (of(plan).back_slot, of(plan).back_version) == ("blue", "v1")
    assert "traffic" not in text(plan)


@pytest.mark.parametrize(
    ("observed", "mode", "ends", "begins", "back"),
    [
        pytest.param(
            world("blue", {}, KNOWS_V1, green=V2),
            "forward",
            {},
            ["mailer"],
            ["mailer"],
            id="killed before the switch",
        ),
        pytest.param(
            world("green", {}, KNOWS_V1, green=V2),
            "resume",
            {},
            ["mailer"],
            ["mailer"],
            id="killed after the switch",
        ),
        pytest.param(
            world("green", RUNS_V2, KNOWS_V1, green=V2), "resume", {}, [], ["mailer"], id="killed after the start"
        ),
        pytest.param(
            world("blue", RUNS_V2, KNOWS_V1, green=V2),
            "forward",
            {"app1": ["mailer of v2 in green"]},
            ["mailer"],
            ["mailer"],
            id="killed on the way back, when traffic had come back",
        ),
    ],
)
def test_the_same_command_goes_on_from_where_it_was_killed(
    observed: Observed, mode: str, ends: dict[str, Any], begins: list[str], back: list[str]
) -> None:
    plan = release(observed, "v2")
    assert plan.mode == mode
    assert (of(plan).ends, of(plan).begins.get("app1", []), of(plan).back.get("app1", [])) == (ends, begins, back)
    assert of(plan).start == {"app1": ["mailer"]}


def test_a_rollback_of_a_killed_run_starts_what_ran_before() -> None:
    unfinished = journal(ran("v2", "unfinished", source="v1"), ran("v1"))
    plan = rollback(world("blue", {}, KNOWS_V1, green=V2, runs=unfinished))
    assert plan.mode == "stay"
    assert (of(plan).begins, of(plan).ends, of(plan).as_before) == ({"app1": ["mailer"]}, {}, True)
    assert plan.steps == ["prove", "stop_singletons", "switch", "start_singletons", "verify"]


def test_a_hot_slot_comes_back_with_what_it_had_and_not_with_what_came_since() -> None:
    alone = {"app1": [one("green", "v2"), one("green", "v2", name="reporter")]}
    observed = world("green", alone, KNOWS_BOTH, green=V2_DONE, runs=SECOND)
    plan = rollback(observed, given={**GIVEN, "reporter": {"command": ["bin/reporter"]}})
    assert (plan.mode, of(plan).as_before) == ("hot", True)
    assert of(plan).start == {"app1": ["mailer"]}
    assert of(plan).ends == {"app1": ["mailer of v2 in green", "reporter of v2 in green"]}
    assert of(plan).back == {"app1": ["mailer", "reporter"]}


def test_a_hot_slot_that_never_had_any_gets_those_of_the_settings() -> None:
    plan = rollback(world("green", RUNS_V2, {"app1": {"green": DIGESTS}}, green=V2_DONE, runs=SECOND))
    assert (plan.mode, of(plan).as_before, of(plan).start) == ("hot", False, {"app1": ["mailer"]})
    # But not if it is known to have had none.
    known = {"app1": {"blue": {}, "green": DIGESTS}}
    assert of(rollback(world("green", RUNS_V2, known, green=V2_DONE, runs=SECOND))).start == {}


def without(observed: Observed, name: str) -> Observed:
    return replace(observed, hosts={**observed.hosts, name: {"lost": "unreachable"}})


def test_a_rollback_starts_none_where_a_host_that_is_dead_may_still_run_it() -> None:
    observed = without(world("green", RUNS_V2, KNOWS_BOTH, green=V2_DONE, runs=SECOND), "app1")
    plan = rollback(observed)
    assert (plan.mode, of(plan).start, of(plan).unknown) == ("hot", {}, {"mailer": "app1 (unreachable)"})
    assert "switch" in plan.steps
    assert "stop_singletons" not in plan.steps
    assert text(plan) == "singletons started nowhere, because they may still run there: mailer of app1 (unreachable)"
    # Nor where another host remembers that it ran there once.
    known = {**KNOWS_BOTH, "app2": {"blue": DIGESTS}}
    moved = without(world("green", RUNS_V2, known, green=V2_DONE, runs=SECOND), "app1")
    assert of(rollback(moved)).start == {}
    # Seen on a host that answers, it is not on the dead one.
    seen = without(world("green", {"app2": [one("green", "v2")]}, known, green=V2_DONE, runs=SECOND), "app1")
    assert (of(rollback(seen)).start, of(rollback(seen)).unknown) == ({"app2": ["mailer"]}, {})
    # Nor where it is in no settings any more, and so on no host that they name.
    gone = rollback(moved, given={})
    assert (of(gone).start, of(gone).unknown) == ({}, {"mailer": "app1 (unreachable)"})
    # A host that has nothing to do with it is in nobody's way.
    other = without(world("green", RUNS_V2, KNOWS_BOTH, green=V2_DONE, runs=SECOND), "app2")
    assert of(rollback(other)).start == {"app1": ["mailer"]}


def test_the_first_host_that_takes_part_runs_what_names_none() -> None:
    observed = world("blue", {}, KNOWS_V1, excluded={"app1": "its disk is broken"})
    observed = replace(observed, hosts={"app2": observed.hosts["app2"]})
    observed = replace(observed, balancers={"lb1": {**balancer("blue"), "server_states": {"blue": {}}}})
    plan = release(observed, "v2")
    assert of(plan).start == {"app2": ["mailer"]}
    assert "app1 must be off" in text(plan)
    with pytest.raises(BatonError, match="the singleton mailer on app1"):
        release(observed, "v2", {"mailer": {**MAILER, "host": "app1"}})


def test_what_a_run_leaves_that_failed_from_nothing_is_stopped() -> None:
    fresh = Observed({"lb1": balancer("none")}, {name: host(slot(), slot()) for name in HOSTS}, journal())
    plan = release(fresh, "v1")
    assert (plan.mode, of(plan).back, of(plan).back_slot) == ("first", {}, "green")


@pytest.mark.parametrize("given", [{"Mailer": MAILER}, {"mailer": {"command": "x"}}, {"mailer": 5}, {"mailer": {}}])
def test_settings_that_are_no_good_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(BatonError, match="slot_singletons"):
        release(world("blue", {}), "v2", given)


def test_the_status_shows_which_runs_where_and_what_is_amiss() -> None:
    runs = {**journal({**ran("v2", source="v1"), "token": 2}), "lease": {"token": 2, "owner": ""}}

    def status(alone: dict[str, Any]) -> str:
        observed = world("blue", alone, green=V2_DONE, runs=runs)
        observed = replace(observed, balancers={"lb1": {**balancer("blue"), "pools": POOLS}})
        return " ".join(describe_status(observed, app_name="shop", schema={}, now=1000.0).split())

    detail: dict[str, Any] = {"pid": 5, "detail": ""}
    assert "singletons" not in status({})
    assert "singletons mailer: running on app1, v1 in blue installed" in status({"app1": [one(**detail)]})
    failing = one(state="failing", pid=None, detail="(exit status 3)")
    assert "mailer: failing (exit status 3) on app1, v1 in blue" in status({"app1": [failing]})
    assert "v2 in green, which is not live; the next run stops it" in status({"app1": [one("green", "v2", **detail)]})
    assert "mailer runs on app1, app2; the next run mends that" in status({name: [one(**detail)] for name in HOSTS})
