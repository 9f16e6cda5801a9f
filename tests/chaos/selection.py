"""Which strikes a test run makes: the most dangerous tasks, of which a seed chooses, and how each of them goes.

``BATON_CHAOS_SEED=7`` makes another choice.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence

from tests.chaos import strike
from tests.chaos.oracle import Outcome, examine
from tests.chaos.recording import Occurrence
from tests.chaos.scene import Scene
from tests.chaos.strike import DEATHS, MOMENTS, WAYS, Moment, Strike, Way

__all__ = ["DANGEROUS", "SEED", "Chosen", "Tasks", "chosen", "must_be_well", "numbered", "one_of"]

SEED = int(os.environ.get("BATON_CHAOS_SEED", "1"))
DANGEROUS = (
    ("release", "Take the lease"),
    ("release", "Fence off older runs, and see under the fence that the plan is still true"),
    ("release", "Install the version"),
    ("release", "Migrate"),
    ("release", "Start the version"),
    ("release", "Switch"),
    ("release", "Measure slice 1"),
    ("release", "Write down how it ended"),
    ("release in steps", "Have the version reach a share of the clients, in per cent: 60"),
    ("hot rollback", "Switch"),
    ("release of a bad version", "Switch back, from whatever is live"),
)
Tasks = Callable[[str], list[Occurrence]]
"""Finds the tasks of a procedure."""
Chosen = tuple[int, str, str]
"""A number, by which it is decided how the strike goes, a procedure and a task of it."""


def numbered(*more: tuple[str, str]) -> list[Chosen]:
    """Return all of the dangerous tasks, and ``more`` of them."""
    return [(index, *one) for index, one in enumerate((*DANGEROUS, *more))]


def chosen(number: int, among: Sequence[Chosen]) -> list[Chosen]:
    """Return so many of these tasks, as this seed chooses them."""
    return sorted(random.Random(SEED).sample(among, number))  # noqa: S311  # no secret


def circumstances(index: int) -> tuple[Moment, strike.Death, Way]:
    """Return how the ``index``-th strike goes: over all of them each signal, moment and way has its turn."""
    turn = SEED + index
    return MOMENTS[turn % 2], DEATHS[turn % 3], WAYS[turn // 2 % 2]


def one_of(procedure: str, task: Occurrence, index: int) -> Strike:
    """Return the ``index``-th strike of this seed."""
    moment, death, way = circumstances(index)
    return strike.one(procedure, task, death, moment, way, seed=SEED)


def must_be_well(scene: Scene, one: Strike) -> Outcome:
    """Make the strike, fail with all that was not as it has to be, and return what came of it."""
    outcome = examine(scene, one)
    assert not outcome.problems, "\n".join([outcome.name, *outcome.problems, outcome.details])
    assert outcome.requests > 0
    assert outcome.runs_to_converge == 1
    return outcome
