"""The plan of a rolling update, also of one that was interrupted."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.observed import Observed
from ansible_collections.baton.release.plugins.module_utils.plan import Rolling
from ansible_collections.baton.release.plugins.module_utils.plan_release import plan_release
from ansible_collections.baton.release.plugins.module_utils.plan_rollback import plan_rollback
from ansible_collections.baton.release.plugins.module_utils.plan_text import describe
from ansible_collections.baton.release.plugins.module_utils.rollout import Rollout

from tests.unit.plugins.module_utils.test_plan import SHA, host, journal, ran, slot

HOSTS = ("app1", "app2", "app3")
SURGE = Rollout("rolling")
IN_PLACE = Rollout("rolling", "0", "1")
UNFINISHED = (ran("v2", "unfinished", source="v1"), ran("v1"))


def balancer(live: str, seats: dict[str, str] | None = None) -> dict[str, Any]:
    known = dict.fromkeys(HOSTS, live) if seats is None else seats
    return {"live": live, "previous": "none", "answering": True, "pools": {}, "seats": known if live != "none" else {}}


def world(one: dict[str, Any], hosts: list[dict[str, Any]], *runs: dict[str, Any], **more: dict[str, Any]) -> Observed:
    return Observed({"lb1": one, **more}, dict(zip(HOSTS, hosts, strict=True)), journal(*runs))


def begun(*seats: str, in_place: bool = False) -> Observed:
    """A rolling update from v1 in blue to v2 in green; ``seats`` says how far it came."""
    slots = [
        host(
            slot("v1", current=not (in_place and seat == "green")),
            slot("v2", current=seat == "green" or not in_place, verified=False),
        )
        for seat in seats
    ]
    return world(balancer("mixed", dict(zip(HOSTS, seats, strict=True))), slots, *UNFINISHED)


ONE_LIVE = world(balancer("blue"), [host(slot("v1"), slot())] * 3, ran("v1"))
NOTHING = world(balancer("none"), [host(slot(), slot())] * 3)
HOT = world(balancer("green"), [host(slot("v1"), slot("v2"))] * 3, ran("v2", source="v1"), ran("v1"))


def released(observed: Observed, version: str = "v2", rollout: Rollout = SURGE) -> Any:
    return plan_release(observed, version=version, sha256=SHA, rollout=rollout)


def test_one_host_after_the_other() -> None:
    plan = released(ONE_LIVE)
    assert plan.rolling == Rolling([["app1"], ["app2"], ["app3"]], in_place=False, size=1, floor=3)
    assert plan.steps == ["stage", "roll", "verify", "watch"]
    assert (plan.strategy, plan.way_back, plan.serving) == ("rolling", "hot", [])
    assert plan.parts(state_host="lb1")["app2"] == ["stage", "roll"]


def test_in_place_nothing_stays_hot() -> None:
    plan = released(ONE_LIVE, rollout=IN_PLACE)
    assert plan.rolling == Rolling([["app1"], ["app2"], ["app3"]], in_place=True, size=1, floor=2)
    assert plan.way_back == "warm"


@pytest.mark.parametrize(
    ("observed", "version", "mode"), [(NOTHING, "v1", "first"), (HOT, "v1", "hot"), (HOT, "v2", "nothing")]
)
def test_where_nothing_is_to_be_replaced_nothing_rolls(observed: Observed, version: str, mode: str) -> None:
    plan = released(observed, version)
    assert (plan.mode, plan.strategy, plan.rolling) == (mode, "blue_green", None)


def test_an_interrupted_update_goes_on_where_it_stopped() -> None:
    plan = released(begun("green", "blue", "blue"))
    assert (plan.mode, plan.target_slot, plan.from_version) == ("forward", "green", "v1")
    assert plan.rolling.batches == [["app2"], ["app3"]]
    assert plan.expected == {"lb1": "mixed"}
    # What serves must not be installed again: that would stop it.
    assert plan.serving == ["app1"]
    assert "stage" not in plan.parts(state_host="lb1")["app1"]


def test_a_host_that_was_left_drained_comes_first() -> None:
    plan = released(begun("green", "blue", "out", in_place=True), rollout=IN_PLACE)
    assert plan.rolling.batches == [["app3"], ["app2"]]


def test_an_update_that_only_lacks_its_end_has_no_batches_left() -> None:
    assert released(begun("green", "green", "green")).rolling.batches == []


def test_a_host_counts_as_done_when_every_balancer_says_so() -> None:
    seats = {"app1": "green", "app2": "blue", "app3": "blue"}
    observed = begun("green", "green", "blue")
    both = Observed({**observed.balancers, "lb2": balancer("mixed", seats)}, observed.hosts, observed.journal)
    assert released(both).rolling.batches == [["app2"], ["app3"]]
    assert released(both).serving == ["app1", "app2"]


def test_an_interrupted_update_may_be_finished_at_once() -> None:
    plan = released(begun("green", "blue", "blue"), rollout=Rollout("blue_green"))
    assert (plan.strategy, plan.target_slot, plan.expected) == ("blue_green", "green", {"lb1": "mixed"})
    assert plan.serving == ["app1"]


def test_a_third_version_is_refused_meanwhile() -> None:
    with pytest.raises(BatonError, match="interrupted rolling update"):
        released(begun("green", "blue", "blue"), "v3")


def test_a_balancer_without_seats_is_refused() -> None:
    observed = world(balancer("blue", {}), [host(slot("v1"), slot())] * 3, ran("v1"))
    with pytest.raises(BatonError, match="configured without seats"):
        released(observed)
    assert released(observed, rollout=Rollout("blue_green")).mode == "forward"


def test_sizes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(BatonError, match="0 of 3 app hosts"):
        released(ONE_LIVE, rollout=Rollout("rolling", "0", "0"))


@pytest.mark.parametrize("version", ["", "v1"])
def test_back_from_an_interrupted_update_is_hot_where_the_old_version_runs(version: str) -> None:
    plan = plan_rollback(begun("green", "blue", "blue"), version=version, rollout=SURGE)
    assert (plan.version, plan.mode, plan.target_slot, plan.from_slot) == ("v1", "hot", "blue", "green")
    assert (plan.from_version, plan.rolling) == ("v2", None)


def test_back_from_an_interrupted_update_in_place_is_host_by_host() -> None:
    plan = plan_rollback(begun("green", "out", "blue", in_place=True), rollout=IN_PLACE)
    assert (plan.version, plan.mode, plan.target_slot) == ("v1", "warm", "blue")
    assert plan.rolling == Rolling([["app2"], ["app1"]], in_place=True, size=1, floor=2)
    assert plan.serving == ["app3"]


@pytest.mark.parametrize("rollout", [IN_PLACE, SURGE, Rollout()], ids=["in place", "surge", "all at once"])
def test_an_update_in_place_that_has_changed_all_hosts_still_has_its_way_back(rollout: Rollout) -> None:
    """Killed in the watch, or when a bad version was to be taken back: the old version is stopped by then, and the only way back."""
    hosts = [host(slot("v1", current=False), slot("v2", verified=False)) for _ in HOSTS]
    observed = world(balancer("green"), hosts, *UNFINISHED)
    plan = released(observed, rollout=rollout)
    assert (plan.mode, plan.from_slot, plan.from_version, plan.way_back) == ("resume", "blue", "v1", "warm")
    assert plan.rolling == Rolling([], in_place=True, size=1, floor=2)
    assert (plan.strategy, plan.steps) == ("blue_green", ["switch", "verify", "watch"])
    text = "\n".join(describe(plan, app_name="shop", step_notes={}))
    assert "goes back batch by batch to v1" in text
    assert "batches" not in text
    gone = [{**one, "releases": [mark for mark in one["releases"] if mark["version"] != "v1"]} for one in hosts]
    assert released(world(balancer("green"), gone, *UNFINISHED), rollout=rollout).from_slot == "none"


def test_an_interrupted_rollback_goes_on_to_the_version_it_was_to_go_back_to() -> None:
    observed = begun("green", "blue", "blue", in_place=True)
    runs = (ran("v1", "unfinished", action="rollback", source="v2"), ran("v2", source="v1"), ran("v1"))
    plan = plan_rollback(Observed(observed.balancers, observed.hosts, journal(*runs)), rollout=IN_PLACE)
    assert (plan.version, plan.target_slot) == ("v1", "blue")


def test_without_the_journal_the_only_proven_version_is_the_one_before() -> None:
    observed = begun("green", "blue", "blue")
    lost = Observed(observed.balancers, observed.hosts, {"lost": "unreachable"})
    assert plan_rollback(lost, rollout=SURGE).version == "v1"


def test_back_to_a_third_version_is_refused_meanwhile() -> None:
    hosts = [
        host(slot("v1"), slot("v2", current=False, verified=False), {"v0": True, "v1": True, "v2": False})
        for _ in HOSTS
    ]
    seats = {"app1": "green", "app2": "blue", "app3": "blue"}
    observed = world(balancer("mixed", seats), hosts, *UNFINISHED, ran("v0"))
    with pytest.raises(BatonError, match="neither of them holds v0"):
        plan_rollback(observed, version="v0", rollout=SURGE)


def test_back_without_a_host_counts_those_that_are_left() -> None:
    observed = begun("green", "blue", "blue", in_place=True)
    lost = Observed(observed.balancers, {**observed.hosts, "app3": {"lost": "unreachable"}}, observed.journal)
    plan = plan_rollback(lost, rollout=IN_PLACE)
    assert plan.rolling == Rolling([["app1"]], in_place=True, size=1, floor=1)


def test_the_plan_says_how_it_goes() -> None:
    text = "\n".join(describe(released(ONE_LIVE, rollout=IN_PLACE), app_name="shop", step_notes={}))
    assert "rolling in place" in text
    assert "app1 > app2 > app3; at least 2 servers up at any time" in text
    assert "warm: nothing stays hot" in text
