"""A fleet for as long as some tests run; here alone is decided where there can be none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

from tests.fleet import engine, lifecycle
from tests.fleet.hosts import Fleet
from tests.fleet.shape import Shape

__all__ = ["a_fleet"]


@contextmanager
def a_fleet(shape: Shape, directory: Path) -> Iterator[Fleet]:
    """Have a fleet in ``directory``, or skip the tests; it is gone afterwards."""
    try:
        engine.ensure(print)
    except BatonError as error:
        pytest.skip(f"there can be no engine here: {error}")
    name, root = f"baton-test-{os.getpid()}-{directory.name}", directory / "fleet"
    try:
        yield lifecycle.up(shape, name=name, root=root)
    finally:
        lifecycle.down(name=name, root=root)
