# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Where a throw-away server keeps its data, and what becomes of it when its process is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import typing
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils import rehearsal_place
from ansible_collections.baton.release.plugins.module_utils.rehearsal_place import throw_away_directory

from tests.unit.plugins.modules.db_migrate_called import REPOSITORY

HOLDER = """
import sys, time
from ansible_collections.baton.release.plugins.module_utils.rehearsal_place import throw_away_directory
with throw_away_directory() as directory:
    print(directory, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file system in memory with room, and a disk that is another directory."""
    for name in ("memory", "disk"):
        (tmp_path / name).mkdir()
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(rehearsal_place, "_MEMORY", tmp_path / "memory")
    monkeypatch.setattr(rehearsal_place, "_ROOM", 1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "disk"))
    return tmp_path / "memory"


@pytest.fixture
def holder(tmp_path: Path) -> typing.Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process with such a directory on the disk."""
    place = {"PYTHONPATH": str(REPOSITORY / "playbooks" / "collections"), "TMPDIR": str(tmp_path / "disk")}
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, env={**os.environ, **place}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_it_is_in_memory_and_gone_afterwards(memory: Path) -> None:
    with throw_away_directory() as directory:
        assert directory.parent == memory
        assert directory.stat().st_mode & 0o777 == 0o700
        (directory / "data").mkdir()
    assert list(memory.iterdir()) == []


@pytest.mark.parametrize("why", ["full", "absent", "forbidden", "asked for"])
def test_it_is_on_the_disk_where_memory_cannot_be_had(memory: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    if why == "full":
        monkeypatch.setattr(rehearsal_place, "_ROOM", 2**60)
    elif why == "absent":
        memory.rmdir()
    elif why == "forbidden":
        monkeypatch.setattr(os, "access", lambda path, _mode: path != memory)
    else:
        monkeypatch.setenv("TMPDIR", str(memory.parent / "disk"))
    with throw_away_directory() as directory:
        assert directory.parent == memory.parent / "disk"


def test_what_a_killed_process_left_is_removed_by_the_next_one_and_what_is_in_use_is_not(
    memory: Path, holder: tuple[subprocess.Popen[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, left = holder
    monkeypatch.setenv("TMPDIR", str(memory.parent / "disk"))
    with throw_away_directory():
        assert left.exists()
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert left.exists()
    with throw_away_directory():
        assert not left.exists()


def test_what_others_put_there_is_neither_followed_nor_waited_for(memory: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").touch()
    (memory / "baton-rehearsal-link").symlink_to(elsewhere)
    for name in ("pipe", "unlocked", "linked"):
        (memory / f"baton-rehearsal-{name}").mkdir()
    os.mkfifo(memory / "baton-rehearsal-pipe" / "lock")
    (memory / "baton-rehearsal-linked" / "lock").symlink_to(elsewhere / "lock")
    (memory / "baton-rehearsal-file").touch()
    with throw_away_directory():
        pass
    assert (elsewhere / "lock").exists()
    assert {"baton-rehearsal-unlocked", "baton-rehearsal-linked"} <= {path.name for path in memory.iterdir()}
    shutil.rmtree(memory)
