"""The controller dies on a fleet with two load balancers; what has to hold then is what ``tests.chaos`` examines everywhere."""

from __future__ import annotations

import pytest

from tests.chaos import strike
from tests.chaos.recording import first
from tests.chaos.scene import Scene
from tests.chaos.selection import SEED, Tasks, chosen, must_be_well, numbered, one_of
from tests.chaos.strike import DEATHS

ROLLING = (
    ("rolling release, with surge", "Change where the batch's share of the requests goes"),
    ("rolling release, in place", "Start the version"),
    ("rolling release, with surge", "Have the slot live as a whole"),
)
"""Dangerous where one load balancer may have done it and the other not."""
ALL = numbered(*ROLLING)
IN_EVERY_RUN = chosen(1, [one for one in ALL if one[1] == "release"])
"""Of a procedure whose tasks the first test has found already."""


def test_a_controller_that_is_killed_while_it_switches_leaves_what_the_same_command_finishes(
    scene: Scene, tasks: Tasks
) -> None:
    """One load balancer may have been switched by then, and the other not: a worker lives on for a while."""
    switch = first(tasks("release"), "Switch")
    must_be_well(scene, strike.one("release", switch, DEATHS[0], "middle", "same command", seed=SEED))


@pytest.mark.parametrize(
    ("index", "procedure", "name"),
    [pytest.param(*one, marks=[] if one in IN_EVERY_RUN else [pytest.mark.thorough]) for one in ALL],
)
def test_death_in_a_dangerous_task(scene: Scene, tasks: Tasks, index: int, procedure: str, name: str) -> None:
    must_be_well(scene, one_of(procedure, first(tasks(procedure), name), index))
