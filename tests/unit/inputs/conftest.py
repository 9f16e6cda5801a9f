"""Where tests with hostile inputs happen."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.inputs.hostile import CANARY


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory, deep enough that a few .. stay inside, in which everything happens."""
    root = tmp_path_factory.mktemp("inputs")
    deep = root / "a" / "b" / "c" / "d"
    deep.mkdir(parents=True)
    (deep / "a-file").touch()
    before, tempdir = Path.cwd(), tempfile.tempdir
    os.chdir(deep)
    tempfile.tempdir = str(deep)
    yield deep
    os.chdir(before)
    tempfile.tempdir = tempdir
    assert not list(root.rglob(CANARY))
