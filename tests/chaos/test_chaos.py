"""The controller dies: a choice of strikes, by seed, most of them at the most dangerous tasks.

``BATON_CHAOS_SEED=7 pytest tests/chaos`` makes another choice; ``python -m tests.chaos --all`` makes all.
"""

from __future__ import annotations

import random

import pytest

from tests.chaos.recording import first
from tests.chaos.scene import Scene
from tests.chaos.selection import DANGEROUS, SEED, Tasks, chosen, must_be_well, numbered, one_of

ANY = ("rolling release, with surge",)
CHOSEN = 2
"""So many of the dangerous ones, each of which takes a minute or two."""


@pytest.mark.parametrize(("index", "procedure", "name"), chosen(CHOSEN, numbered()))
def test_death_in_a_dangerous_task(scene: Scene, tasks: Tasks, index: int, procedure: str, name: str) -> None:
    must_be_well(scene, one_of(procedure, first(tasks(procedure), name), index))


@pytest.mark.parametrize(("index", "procedure"), [(index, one) for index, one in enumerate(ANY, start=len(DANGEROUS))])
def test_death_in_any_task(scene: Scene, tasks: Tasks, index: int, procedure: str) -> None:
    chance = random.Random(f"{SEED} {procedure}")  # noqa: S311  # no secret
    must_be_well(scene, one_of(procedure, chance.choice([task for task in tasks(procedure) if task.hosts]), index))
