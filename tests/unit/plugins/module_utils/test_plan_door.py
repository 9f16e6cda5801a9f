"""A door that is not open, and servers that are left out: a release is refused, a rollback goes on, and status.yml says so."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.door import HELD, MAINTENANCE, OPEN, Door, door_of
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.observed import Observed
from ansible_collections.baton.release.plugins.module_utils.plan_release import plan_release
from ansible_collections.baton.release.plugins.module_utils.plan_rollback import plan_rollback
from ansible_collections.baton.release.plugins.module_utils.plan_text import describe
from ansible_collections.baton.release.plugins.module_utils.status_text import describe_status

from tests.unit.plugins.module_utils.test_plan import HOSTS, SHA, balancer, host, journal, ran, slot

DOORS = [Door(), Door(HELD, 30, 60), Door(MAINTENANCE, retry_after=60)]
POOLS = {one: {"up": ["a:1"], "servers": ["a:1", "b:1"]} for one in ("blue", "green")}


def world(lb1: dict[str, Any], lb2: dict[str, Any]) -> Observed:
    """v2 is live in green and v1 still runs in blue; each load balancer says more beside that."""
    balancers = {"lb1": lb1, "lb2": lb2}
    return Observed(
        {name: {**balancer("green"), "pools": POOLS, **more} for name, more in balancers.items()},
        {name: host(slot("v1"), slot("v2")) for name in HOSTS},
        {
            **journal({**ran("v2", source="v1"), "token": 2}, {**ran("v1"), "token": 1}),
            "lease": {"token": 2, "owner": ""},
        },
    )


def at(door: Door) -> dict[str, Any]:
    return {"door": door.as_result()}


def status(observed: Observed) -> str:
    return " ".join(describe_status(observed, app_name="shop", schema={}, now=1000.0).split())


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.state)
def test_a_door_is_what_its_word_says(door: Door) -> None:
    assert door_of(door.word, "the map", otherwise=MAINTENANCE) == door


@pytest.mark.parametrize(
    "word", ["", "closed", "held", "held:0:5", "held:5", "maintenance:", "maintenance:x", "open:1"]
)
def test_another_word_is_none(word: str) -> None:
    door = door_of(word, "the map", otherwise=MAINTENANCE)
    assert (door.state, door.unsettled) == (MAINTENANCE, f"the map holds {word!r}, which somebody else wrote")


@pytest.mark.parametrize("door", DOORS[1:], ids=lambda door: door.state)
def test_a_release_is_refused_while_any_door_is_not_open(door: Door) -> None:
    observed = world(at(Door()), at(door))
    with pytest.raises(
        BatonError, match=rf"not open at lb2 \({door.state}\).*maintenance=false first; nothing was touched"
    ):
        plan_release(observed, version="v3", sha256=SHA)
    plan = plan_rollback(observed)
    assert (plan.mode, plan.version, plan.closed) == ("hot", "v1", {"lb2": door.state})
    text = " ".join(" ".join(describe(plan, app_name="shop", step_notes={})).split())
    assert f"not open at lb2 ({door.state}), and stays so" in text
    assert plan_release(world(at(Door()), {}), version="v3", sha256=SHA).mode == "forward"


def test_a_release_is_refused_while_a_door_would_close_at_a_restart() -> None:
    observed = world(at(Door()), at(Door(unsettled="maintenance:60 after a restart")))
    with pytest.raises(BatonError, match=r"not open at lb2 \(open, maintenance:60 after a restart\)"):
        plan_release(observed, version="v3", sha256=SHA)


def test_a_release_is_refused_while_a_server_is_left_out() -> None:
    states = {"blue": {"app1": "ready", "app2": "drain"}, "green": {"app1": "maint", "app2": "ready"}}
    observed = world({}, {"server_states": states})
    out = r"app2 in blue at lb2 \(drain\), app1 in green at lb2 \(maint\)"
    with pytest.raises(BatonError, match=out):
        plan_release(observed, version="v3", sha256=SHA)
    plan = plan_rollback(observed)
    assert (plan.mode, plan.target_slot, plan.out) == ("hot", "blue", ["app2"])
    assert "left out app2 in blue at lb2 (drain) app1 in green at lb2 (maint)" in status(observed)


def test_the_status_says_nothing_of_doors_that_are_open_and_all_of_others() -> None:
    assert OPEN not in status(world(at(Door()), {})).replace("door", "").split()
    told = status(world(at(Door()), at(Door(MAINTENANCE, retry_after=60, unsettled="open after a restart"))))
    assert (
        "door lb1: the door is open lb2: the maintenance page is shown (Retry-After 60) (open after a restart)" in told
    )
    assert "the load balancers disagree about it; maintenance.yml, run again, mends that" in told
    both = world(at(Door(HELD, 30, 60)), at(Door(HELD, 30, 60)))
    assert "lb2: requests are held for up to 30 s each" in status(both)
    assert "disagree" not in status(both)
