# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a tool's run shows and hides, and that it ends in time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_tool import (
    Ended,
    NotThereYet,
    Running,
    ToolSettings,
    mask,
    run,
    surroundings,
)

URL = "postgresql+psycopg://app:p%40ss%2Fw%C3%B6rd@127.0.0.1/shop"


def settings(*env_files: Path, environment: dict[str, str] | None = None, ddl_lock_timeout: str = "5s") -> ToolSettings:
    return ToolSettings(
        project_dir=Path("/"),
        environment=environment or {},
        env_files=env_files,
        database_url_variable="DATABASE_URL",
        ddl_lock_timeout=ddl_lock_timeout,
        timeout=5,
    )


def run_python(program: str, directory: Path, *, timeout: float = 10, secrets: frozenset[str] = frozenset()) -> Ended:
    return run(
        [sys.executable, "-"],
        project_dir=directory,
        variables=dict(os.environ),
        secrets=secrets,
        timeout=timeout,
        program=program,
    )


def test_a_tool_that_is_no_longer_wanted_is_ended_before_it_goes_on(tmp_path: Path) -> None:
    """Its standard input would tell it to, when it ends."""
    program = "import pathlib, sys; sys.stdin.read(); pathlib.Path('went on').touch()"
    argv = [sys.executable, "-c", program]
    given = {
        "project_dir": tmp_path,
        "variables": dict(os.environ),
        "secrets": frozenset[str](),
        "stdin": subprocess.PIPE,
    }
    with Running(argv, **given) as waiting:  # type: ignore[arg-type]  # a mapping of them all
        started = waiting._process
        time.sleep(0.3)
    assert started.returncode == -signal.SIGTERM
    assert not list(tmp_path.iterdir())
    with Running(argv, **given) as wanted:  # type: ignore[arg-type]  # as above
        wanted.go_on()
        assert wanted.ended(10).returncode == 0
    assert (tmp_path / "went on").exists()


def test_later_env_files_win_and_the_environment_option_wins_over_them(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('A="1"\nB="1"\nC="1"\n', encoding="utf-8")
    (tmp_path / "b").write_text(f'B="2"\nC="2"\nDATABASE_URL="{URL}"\n', encoding="utf-8")
    around = surroundings(settings(tmp_path / "a", tmp_path / "none", tmp_path / "b", environment={"C": "3"}))
    assert [around.variables[name] for name in "ABC"] == ["1", "2", "3"]
    assert around.url == URL
    assert around.missing_files == (str(tmp_path / "none"),)
    assert around.variables["PGOPTIONS"] == "-c lock_timeout=5s"


def test_the_tool_does_not_get_to_know_the_server_for_rehearsals() -> None:
    there = {"DATABASE_URL": URL, "REHEARSAL_URL": "postgresql://super:very%2Fsecret@127.0.0.1/postgres"}
    around = surroundings(replace(settings(environment=there), rehearsal_url_variable="REHEARSAL_URL"))
    assert around.rehearsal_url == there["REHEARSAL_URL"]
    assert "REHEARSAL_URL" not in around.variables
    assert mask("very%2Fsecret and very/secret", around.secrets) == "******** and ********"
    assert "REHEARSAL_URL" in surroundings(settings(environment=there)).variables


def test_the_apps_own_pgoptions_are_left_alone() -> None:
    around = surroundings(settings(environment={"DATABASE_URL": URL, "PGOPTIONS": "-c search_path=shop"}))
    assert around.variables["PGOPTIONS"] == "-c search_path=shop"


def test_a_missing_url_says_which_files_are_missing(tmp_path: Path) -> None:
    with pytest.raises(NotThereYet, match=f"no DATABASE_URL.*{tmp_path}/none"):
        surroundings(settings(tmp_path / "none"))


@pytest.mark.parametrize("value", ["5 s", "5s -c fsync=off", "", "soon"])
def test_a_lock_timeout_cannot_carry_other_settings(value: str) -> None:
    with pytest.raises(BatonError, match="ddl_lock_timeout"):
        surroundings(settings(environment={"DATABASE_URL": URL}, ddl_lock_timeout=value))


def test_secrets_are_masked_in_every_spelling(tmp_path: Path) -> None:
    (tmp_path / "env").write_text('API="canary-1 + more"\nPIN_SECRET="77"\nFLAG="1"\nMODE="on"\n', encoding="utf-8")
    around = surroundings(settings(tmp_path / "env", environment={"DATABASE_URL": URL, "PYTHONPATH": "vendor"}))
    text = f"{URL} p@ss/wörd p%40ss%2Fw%C3%B6rd canary-1 + more canary-1+%2B+more pin 77 flag 1 vendor on"
    shown = mask(text, around.secrets)
    for hidden in ("p@ss", "p%40ss", "canary", "77"):
        assert hidden not in shown
    assert shown.endswith("flag 1 vendor on")


def test_the_end_of_a_long_output_is_what_is_shown(tmp_path: Path) -> None:
    ended = run_python(
        "for i in range(1000): print('line', i)\nraise ValueError('canary')", tmp_path, secrets=frozenset({"canary"})
    )
    assert ended.returncode == 1
    assert len(ended.tail) == 20
    assert ended.headline == "ValueError: ********"


def state_of(pid: int) -> str:
    """Return the state of a process as Linux names it, "" when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_tool_that_does_not_end_is_ended_with_its_children(tmp_path: Path) -> None:
    program = "import subprocess, sys\np = subprocess.Popen(['sleep', '60'])\nprint(p.pid, flush=True)\np.wait()"
    ended = run_python(program, tmp_path, timeout=2)
    assert ended.returncode is None
    child = int(ended.output.strip())
    # Killed is not yet gone: on a busy machine it takes a moment. By itself it would end after a minute only.
    deadline = time.monotonic() + 20
    while state_of(child) not in ("", "Z"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
