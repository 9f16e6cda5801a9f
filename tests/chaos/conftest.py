"""One environment for the tests of a worker, and the tasks of the procedures, found on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.campaign import embedded, tasks_of
from tests.chaos.procedures import named
from tests.chaos.recording import Occurrence
from tests.chaos.scene import Scene
from tests.e2e.conftest import artifacts
from tests.e2e.environment import Environment

__all__ = ["artifacts"]


@pytest.fixture(scope="package")
def scene(tmp_path_factory: pytest.TempPathFactory, artifacts: Path) -> Iterator[Scene]:  # pytest's way
    """The shared environment; a test leaves it with a proven version live, or ``prepare`` sees to it."""
    with embedded(tmp_path_factory.mktemp("chaos") / "1", artifacts) as one:
        yield one


@pytest.fixture(scope="package")
def shop(scene: Scene) -> Environment:
    """The same environment, for what is only asked of it and played on it."""
    return scene.shop


@pytest.fixture(scope="package")
def tasks(scene: Scene) -> Callable[[str], list[Occurrence]]:
    """A function that returns the tasks of a procedure; the first time it records them, by a run that changes what is live."""
    known: dict[str, list[Occurrence]] = {}

    def tasks_of_named(procedure: str) -> list[Occurrence]:
        if procedure not in known:
            known[procedure] = tasks_of(scene, named(procedure))
        return known[procedure]

    return tasks_of_named
