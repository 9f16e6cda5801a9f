# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The example shop: its repository, and the promise that the version before survives an expand migration."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SHOP = Path(__file__).resolve().parents[3] / "examples" / "shop"


def make_repository(directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SHOP / "make_repository.py"), str(directory)]
    environment = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_repository_is_the_same_whatever_git_is_told(tmp_path: Path) -> None:
    config = tmp_path / "gitconfig"
    sections = (
        "[commit]\ngpgSign = true",
        "[tag]\ngpgSign = true",
        "[core]\nautocrlf = true",
        "[init]\ndefaultBranch = x",
    )
    config.write_text("\n".join(sections), encoding="utf-8")
    first = make_repository(tmp_path / "first")
    second = make_repository(
        tmp_path / "second", HOME="/nonexistent", GIT_CONFIG_GLOBAL=str(config), GIT_DIR="/nonexistent"
    )
    replaced = make_repository(tmp_path / "first", TZ="Asia/Kolkata")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == second.stdout == replaced.stdout
    names = [line.split()[0] for line in first.stdout.splitlines()]
    assert names == ["develop", "main", "v1.0.0", "v1.1.0", "v1.2.0", "v1.2.1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "gitconfig", "second"]


@pytest.mark.parametrize("make_foreign", [lambda path: path.write_text("text"), lambda path: path.symlink_to("/")])
def test_what_it_did_not_make_is_not_replaced(tmp_path: Path, make_foreign: object) -> None:
    assert callable(make_foreign)
    make_foreign(tmp_path / "target")
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "file").touch()
    for name in ("target", "directory"):
        refused = make_repository(tmp_path / name)
        assert (refused.returncode, "holds something else" in refused.stderr) == (2, True)
    assert (tmp_path / "directory" / "file").exists()


def test_the_version_before_works_on_the_expanded_schema(tmp_path: Path) -> None:
    tree = tmp_path / "shop"
    shutil.copytree(SHOP / "v1.0.0", tree)
    shutil.copytree(SHOP / "v1.1.0" / "migrations", tree / "migrations", dirs_exist_ok=True)
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"], cwd=tree, capture_output=True, text=True, timeout=60, check=False
    )
    assert tests.returncode == 0, tests.stdout
