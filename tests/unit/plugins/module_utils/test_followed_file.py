# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""No line is read twice or lost, whatever happens to the file."""

from __future__ import annotations

import os
import typing
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils import followed_file
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.followed_file import FollowedFile


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.write_bytes(b"")
    return path


def append(path: Path, text: str) -> None:
    with path.open("ab") as stream:
        stream.write(text.encode())


def read(followed: FollowedFile) -> str:
    return " ".join(line.decode() for line in followed.lines())


def rotate(log: Path) -> Path:
    old = log.with_name("access-2026-11-23.log")
    log.rename(old)
    log.write_bytes(b"")
    return old


def grows(log: Path) -> None:
    append(log, "2\n3\n")


def stays(_log: Path) -> None: ...


def is_rotated(log: Path) -> None:
    rotate(log)
    append(log, "2\n")


def grows_and_is_rotated(log: Path) -> None:
    grows(log)
    rotate(log)
    append(log, "4\n")


def is_rotated_too_early(log: Path) -> None:
    """Its writer still has the old file open."""
    append(rotate(log), "2\n")
    append(log, "3\n")


def is_rotated_with_half_a_line(log: Path) -> None:
    append(log, "2\nhalf")
    rotate(log)
    append(log, "3\n")


def is_truncated(log: Path) -> None:
    log.write_bytes(b"")
    append(log, "2\n")


Step = typing.Callable[[Path], None]


@pytest.mark.parametrize("later_task", [False, True])
@pytest.mark.parametrize(
    ("happens", "lines", "gap"),
    [
        (grows, "2 3", False),
        (stays, "", False),
        (is_rotated, "2", False),
        (grows_and_is_rotated, "2 3 4", False),
        (is_rotated_too_early, "2 3", False),
        (is_rotated_with_half_a_line, "2 3", False),
        (is_truncated, "2", True),
    ],
)
def test_lines_through_whatever_happens(log: Path, happens: Step, lines: str, gap: bool, later_task: bool) -> None:
    append(log, "old line\n")
    followed = FollowedFile(log, None)
    append(log, "1\n")
    assert read(followed) == "1"
    if later_task:
        cursor = followed.cursor
        followed.close()
        happens(log)
        followed = FollowedFile(log, cursor)
    else:
        happens(log)
    assert read(followed) == lines
    append(log, "last\n")
    assert read(followed) == "last"
    assert followed.gap == gap
    followed.close()


def test_half_a_line_waits_for_its_other_half(log: Path) -> None:
    append(log, '1\n{"a": ')
    followed = FollowedFile(log, None)
    assert read(followed) == ""
    cursor = followed.cursor
    followed.close()
    followed = FollowedFile(log, cursor)
    append(log, "2}\n3")
    assert read(followed) == '{"a": 2}'
    append(log, "\n")
    assert read(followed) == "3"


def test_a_file_that_is_missing_for_a_moment_is_being_rotated(log: Path) -> None:
    followed = FollowedFile(log, None)
    append(log, "1\n")
    log.rename(log.with_name("old"))
    assert read(followed) == "1"
    append(log, "2\n")
    assert read(followed) == "2"


def test_a_rotated_file_that_is_gone_is_a_gap(log: Path) -> None:
    append(log, "1\n")
    cursor = FollowedFile(log, None).cursor
    append(log, "lost\n")
    rotate(log).unlink()
    append(log, "2\n")
    followed = FollowedFile(log, cursor)
    assert read(followed) == "2"
    assert followed.gap


def test_a_new_file_with_an_old_inode_is_read_from_its_start(log: Path) -> None:
    append(log, "first\n")
    cursor = FollowedFile(log, None).cursor
    log.write_text("other\nsecond\n", encoding="utf-8")
    assert log.stat().st_ino == cursor["inode"]
    followed = FollowedFile(log, cursor)
    assert read(followed) == "other second"
    assert followed.gap


def test_a_line_without_end_does_not_stop_the_reader(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed_file, "_CHUNK", 8)
    followed = FollowedFile(log, None)
    append(log, "x" * 20 + "\n1\n2\n")
    assert read(followed).endswith("1 2")


@pytest.mark.parametrize(
    "cursor", [{"inode": 1}, {"inode": "x", "offset": 0, "head": 0}, {"inode": None, "offset": 0, "head": 0}]
)
def test_a_foreign_cursor_is_refused(log: Path, cursor: dict[str, object]) -> None:
    with pytest.raises(BatonError, match="cursor"):
        FollowedFile(log, cursor)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FollowedFile(tmp_path / "none", None)


def test_no_descriptor_is_left_behind(log: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - pathlib would hold one open itself
    followed = FollowedFile(log, None)
    cursor = followed.cursor
    read(followed)
    rotate(log)
    read(followed)
    followed.close()
    FollowedFile(log, cursor).close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above
