# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A path that is no path is refused in words, whoever gives it."""

from __future__ import annotations

import typing
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils import files
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

NO_PATH = Path("no\0path") / "file"


def lock(path: Path) -> None:
    with files.locked(path):
        pass


def write(path: Path) -> None:
    files.write_atomically(path, "text")


def append(path: Path) -> None:
    files.append_line(path, "line")


@pytest.mark.parametrize("use", [lock, write, append, files.read_text])
def test_a_path_that_cannot_be_is_refused_in_words(use: typing.Callable[[Path], object]) -> None:
    with pytest.raises(BatonError, match=r"null (byte|character)"):
        use(NO_PATH)
