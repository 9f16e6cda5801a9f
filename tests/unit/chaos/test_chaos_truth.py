"""What the oracle finds where two load balancers, their hosts or status.yml do not say the same; and nothing where they do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.ground import Routing, Unit
from tests.chaos.oracle import unsettled
from tests.chaos.truth import Front, Truth, contradictions

HOSTS = ("app1", "app2")
BLUE, GREEN = "v1", "v2"
STATUS = """\
shop
 traffic lb1: green (v2), 2 of 2 servers up
 lb2: green (v2), 2 of 2 servers up
 slots app1 blue: v1 running, verified green: v2 running, verified
 app2 blue: v1 running, verified green: v2 running, verified
 lock free; lease 7 was the last
"""


def front(name: str, word: str, *served: str, begins: str = "", seats: tuple[tuple[str, str], ...] = ()) -> Front:
    return Front(name, Routing(word, begins or word, seats), frozenset(served))


SETTLED = Truth(
    fronts=(front("lb1", "green", GREEN), front("lb2", "green", GREEN)),
    hosts=HOSTS,
    answering={(host, slot): version for host in HOSTS for slot, version in (("blue", BLUE), ("green", GREEN))},
    units={(host, slot): Unit(runs=True, returns=slot == "green") for host in HOSTS for slot in ("blue", "green")},
    lease=(7, ""),
)


def second(one: Front) -> Truth:
    return replace(SETTLED, fronts=(SETTLED.fronts[0], one))


def test_what_is_at_rest_has_no_problems() -> None:
    assert unsettled(SETTLED, GREEN) == []
    assert contradictions(STATUS, SETTLED) == []


@pytest.mark.parametrize(
    ("truth", "found"),
    [
        pytest.param(
            second(front("lb2", "blue", BLUE)), "do not agree: lb1 green, lb2 blue", id="the other slot at one"
        ),
        pytest.param(
            second(front("lb2", "green", GREEN, BLUE)), "v1, v2 is served, not v2", id="the other version at one"
        ),
        pytest.param(second(front("lb2", "green", GREEN, "")), "is served, not v2", id="no answer at one"),
        pytest.param(
            second(front("lb2", "green:blue:30", GREEN)), "30 % of the clients", id="a share that is left at one"
        ),
        pytest.param(
            second(front("lb2", "green", GREEN, begins="blue")),
            "lb2 has green, and would begin with blue",
            id="restart",
        ),
        pytest.param(
            replace(SETTLED, answering={**SETTLED.answering, ("app2", "green"): BLUE}),
            "green is live and answers with",
            id="another version on a host",
        ),
        pytest.param(
            replace(SETTLED, units={**SETTLED.units, ("app2", "green"): Unit(runs=True, returns=False)}),
            "green of app2 is live",
            id="gone after a reboot",
        ),
        pytest.param(
            replace(SETTLED, units={**SETTLED.units, ("app1", "green"): Unit(runs=False, returns=True)}),
            "green of app1 is live",
            id="supervised by nobody",
        ),
    ],
)
def test_what_is_not_at_rest_is_found(truth: Truth, found: str) -> None:
    assert found in "\n".join(unsettled(truth, GREEN))


@pytest.mark.parametrize(
    ("truth", "found"),
    [
        (second(front("lb2", "blue", BLUE)), "does not say 'lb2: blue (v1)'"),
        (second(front("lb2", "green:blue:30", GREEN)), "of lb2 '30 % of the clients reach blue (v1)'"),
        (
            second(front("lb2", "mixed", BLUE, seats=(("app1", "green"), ("app2", "out")))),
            "'lb2: mixed, a rolling update is under way: app1 green (v2), app2 out'",
        ),
        (
            replace(SETTLED, answering={**SETTLED.answering, ("app2", "blue"): ""}),
            "says that app2 runs v1 in blue, there answers nothing",
        ),
        (replace(SETTLED, lease=(8, "somebody")), "does not say 'lease 8 of somebody since'"),
    ],
)
def test_a_status_that_is_not_true_is_found(truth: Truth, found: str) -> None:
    (one,) = contradictions(STATUS, truth)
    assert found in one


def test_a_share_at_one_load_balancer_alone_is_told_of_that_one() -> None:
    told = STATUS.replace("lb2: green (v2), 2 of 2 servers up", "lb2: green (v2), 2 of 2 servers up; {}").format(
        "30 % of the clients reach blue (v1), 2 of 2 servers up"
    )
    assert contradictions(told, second(front("lb2", "green:blue:30", GREEN))) == []
    assert len(contradictions(told, SETTLED)) == 1
