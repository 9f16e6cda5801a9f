"""The controller dies: a choice of strikes, by seed, most of them at the most dangerous tasks.

``BATON_CHAOS_SEED=7 pytest tests/chaos`` makes another choice; ``python -m tests.chaos --all`` makes all.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from tests.chaos import strike
from tests.chaos.oracle import examine
from tests.chaos.recording import Occurrence, first
from tests.chaos.scene import Scene
from tests.chaos.strike import DEATHS, MOMENTS, WAYS, Moment, Way

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
ANY = ("rolling release, with surge",)
CHOSEN = 2
"""So many of the dangerous ones, each of which takes a minute or two."""
Tasks = Callable[[str], list[Occurrence]]


def circumstances(index: int) -> tuple[Moment, strike.Death, Way]:
    """Return how the ``index``-th strike goes: over all of them each signal, moment and way has its turn."""
    turn = SEED + index
    return MOMENTS[turn % 2], DEATHS[turn % 3], WAYS[turn // 2 % 2]


def must_be_well(shop: Scene, procedure: str, task: Occurrence, index: int) -> None:
    """Make the strike, and fail with all that was not as it has to be."""
    moment, death, way = circumstances(index)
    outcome = examine(shop, strike.one(procedure, task, death, moment, way, seed=SEED))
    assert not outcome.problems, "\n".join([outcome.name, *outcome.problems, outcome.details])
    assert outcome.requests > 0
    assert outcome.runs_to_converge == 1


def chosen() -> list[tuple[int, str, str]]:
    """Return the choice of this seed."""
    all_of_them = [(index, *one) for index, one in enumerate(DANGEROUS)]
    return sorted(random.Random(SEED).sample(all_of_them, CHOSEN))  # noqa: S311  # no secret


@pytest.mark.parametrize(("index", "procedure", "name"), chosen())
def test_death_in_a_dangerous_task(shop: Scene, tasks: Tasks, index: int, procedure: str, name: str) -> None:
    must_be_well(shop, procedure, first(tasks(procedure), name), index)


@pytest.mark.parametrize(("index", "procedure"), [(index, one) for index, one in enumerate(ANY, start=len(DANGEROUS))])
def test_death_in_any_task(shop: Scene, tasks: Tasks, index: int, procedure: str) -> None:
    chance = random.Random(f"{SEED} {procedure}")  # noqa: S311  # no secret
    must_be_well(shop, procedure, chance.choice([task for task in tasks(procedure) if task.hosts]), index)
