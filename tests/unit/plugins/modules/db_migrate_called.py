# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""How tests call ``db_migrate``: in this process or in one of its own, on a release tree in a directory, against a real database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import typing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baton.release.plugins.modules import db_migrate

__all__ = ["Called", "Result", "Run", "Server", "finish", "until"]

REPOSITORY = Path(__file__).parents[4]
Result = typing.Dict[str, typing.Any]  # noqa: UP006 - evaluated on Python 3.9 too

RUNNER = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baton.release.plugins.modules import db_migrate
with patch_module_args(json.load(sys.stdin)):
    db_migrate.main()
"""


class Run(typing.Protocol):
    """How the tests call the module in this process."""

    def __call__(self, *, check: bool = False, fails: bool = False, **options: typing.Any) -> Result: ...


class Server(typing.Protocol):
    """Where the database is."""

    password: str
    port: int

    def url(self, database: str = ..., *, password: str | None = None, driver: str = "") -> str: ...

    def query(self, database: str, statement: str) -> list[tuple[typing.Any, ...]]: ...


@dataclass
class Called:
    """A release tree, an env file, a database, and what the module is called with."""

    root: Path
    server: Server
    database: str
    tree: Path = field(init=False)
    params: Result = field(init=False)

    def __post_init__(self) -> None:
        self.tree = self.root / "release"
        self.env_file = self.root / "secrets.env"
        self.params = {
            "project_dir": str(self.tree),
            "env_files": [str(self.env_file)],
            "state_dir": str(self.root / "state"),
        }

    def url(self, url: str, more: str = "") -> None:
        """Write the env file."""
        self.env_file.write_text(f'DATABASE_URL="{url}"\n{more}', encoding="utf-8")

    def query(self, statement: str) -> list[tuple[typing.Any, ...]]:
        """Ask the database."""
        return self.server.query(self.database, statement)

    def users(self) -> int:
        """Count what the second migration inserts."""
        return int(self.query("SELECT count(*) FROM users")[0][0])

    def call(
        self, capsys: pytest.CaptureFixture[str], *, check: bool = False, fails: bool = False, **options: typing.Any
    ) -> Result:
        """Run the module in this process, and insist on how it ends."""
        with patch_module_args({**self.params, "_ansible_check_mode": check, **options}), pytest.raises(SystemExit):
            db_migrate.main()
        result: Result = json.loads(capsys.readouterr().out)
        assert bool(result.get("failed")) == fails, result
        return result

    def start(self, name: str, *, through: typing.Sequence[str] = (), **options: typing.Any) -> subprocess.Popen[str]:
        """Start the module as a process of its own, as if on the host ``name``, ``through`` a command that runs another one."""
        arguments = {**self.params, "state_dir": str(self.root / name), **options}
        process = subprocess.Popen(
            [*through, sys.executable, "-c", RUNNER],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY / "playbooks" / "collections")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(arguments))
        process.stdin.close()
        process.stdin = None
        return process


def finish(process: subprocess.Popen[str], seconds: float = 120) -> Result:
    """Wait for a module that was started, and return its result."""
    output, _ = process.communicate(timeout=seconds)
    result: Result = json.loads(output)
    return result


def until(condition: typing.Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
