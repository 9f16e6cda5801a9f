"""The controller dies on a fleet with two load balancers; what has to hold then is what ``tests.chaos`` examines everywhere."""

from __future__ import annotations

import pytest

from tests.chaos.recording import first
from tests.chaos.scene import Scene
from tests.chaos.selection import Tasks, chosen, must_be_well, numbered, one_of
from tests.chaos.strike import DEATHS, Strike, Way

SHARE_OF_A_BATCH = "Change where the batch's share of the requests goes"
ROLLING = (
    ("rolling release, with surge", SHARE_OF_A_BATCH),
    ("rolling release, in place", "Start the version"),
    ("rolling release, with surge", "Have the slot live as a whole"),
)
ALL = numbered(*ROLLING)
IN_EVERY_RUN = chosen(1, [one for one in ALL if one[1] == "release"])
"""Of a procedure whose tasks the first test has found already."""
BETWEEN: tuple[tuple[str, str, Way], ...] = (
    ("release", "Switch", "same command"),
    ("release", "Switch", "rollback"),
    ("release in steps", "Have the version reach a share of the clients, in per cent: 30", "rollback"),
    ("hot rollback", "Switch", "same command"),
    ("release of a bad version", "Switch back, from whatever is live", "rollback"),
    ("rolling release, with surge", SHARE_OF_A_BATCH, "rollback"),
    ("rolling release, with surge", "Have the slot live as a whole", "same command"),
)
"""What each load balancer does by itself. The first one is struck in every run."""


@pytest.mark.parametrize(
    ("procedure", "name", "way"), [BETWEEN[0], *(pytest.param(*one, marks=pytest.mark.thorough) for one in BETWEEN[1:])]
)
def test_death_when_one_load_balancer_has_done_it_and_the_other_not(
    scene: Scene, tasks: Tasks, procedure: str, name: str, way: Way
) -> None:
    task = first(tasks(procedure), name)
    strike = Strike(procedure, task, DEATHS[0], "between", way, fraction=0, held=False)
    assert must_be_well(scene, strike).apart


@pytest.mark.parametrize(
    ("index", "procedure", "name"),
    [pytest.param(*one, marks=[] if one in IN_EVERY_RUN else [pytest.mark.thorough]) for one in ALL],
)
def test_death_in_a_dangerous_task(scene: Scene, tasks: Tasks, index: int, procedure: str, name: str) -> None:
    must_be_well(scene, one_of(procedure, first(tasks(procedure), name), index))
