"""One migration tool on one schema measured: nothing to do, one migration, and its rehearsal, each as a process of its own."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import migration_tools
from tests.postgres import PostgresServer
from tests.unit.plugins.modules.alembic_tree import App, sql
from tests.unit.plugins.modules.db_migrate_called import REPOSITORY, RUNNER, Called
from tests.unit.plugins.modules.migration_trees import DbmateTree, DjangoTree, KnexTree, Tree

__all__ = ["APPLYING", "NOTHING", "REHEARSAL", "TOOLS", "Cost", "Figure", "measure"]

NOTHING, APPLYING, REHEARSAL = "nothing to do", "one migration", "rehearsal"
SMALL, SMALL_SECONDS, LARGE_SECONDS = 20, 3.0, 15.0
"""A rehearsal of so many tables, and of up to 500, may take so long."""
START_SECONDS = 0.5
SHARE, MORE_SECONDS = 0.1, 1.0
SCHEMA = """DO $$BEGIN FOR n IN 2..{tables} LOOP
EXECUTE format('CREATE TABLE t%s (id serial PRIMARY KEY, a text NOT NULL, b int, c timestamptz DEFAULT now(), d numeric(10,2))', n);
EXECUTE format('CREATE INDEX ON t%s (a)', n); EXECUTE format('CREATE INDEX ON t%s (b)', n); EXECUTE format('CREATE INDEX ON t%s (c, d)', n);
IF n > 2 THEN EXECUTE format('ALTER TABLE t%s ADD FOREIGN KEY (b) REFERENCES t%s (id)', n, n - 1); END IF;
EXECUTE format('CREATE VIEW v%s AS SELECT id, a FROM t%s', n, n);
END LOOP; END$$"""


@dataclass(frozen=True)
class Cost:
    """Seconds that passed, and seconds of processors that a program and all that it started used."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Figure:
    """What one thing costs with db_migrate and, where there is such a thing, with the bare tool; medians."""

    tool: str
    tables: int
    what: str
    own: Cost
    bare: Cost | None
    allowed: float
    """Seconds that db_migrate may take."""

    @property
    def kept(self) -> bool:
        """Whether it took no longer than it may."""
        return self.own.wall <= self.allowed


class Measured(ABC):
    """A release tree of a tool, and how the bare tool is called in it."""

    status: tuple[str, ...]
    up: tuple[str, ...]

    def __init__(self, called: Called) -> None:
        """Remember the tree."""
        self.called = called
        self.number = 3

    def more(self) -> None:
        """Add a migration, which is pending then."""
        self.number += 1
        name = f"more_{self.number}"
        self.add(self.number, f"ALTER TABLE users ADD {name} text", f"ALTER TABLE users DROP {name}")

    @abstractmethod
    def add(self, number: int, up: str, down: str) -> None:
        """Write a migration."""


class OfAlembic(Measured):
    """The tree of Alembic."""

    status = (sys.executable, "-m", "alembic", "current")
    up = (sys.executable, "-m", "alembic", "upgrade", "head")

    def __init__(self, root: Path, server: PostgresServer, database: str) -> None:
        """Make the tree."""
        self.app = App(root, server, database)
        super().__init__(self.app)

    def add(self, number: int, up: str, down: str) -> None:
        """Write a migration."""
        self.app.add(f"{number:04}", f"{number - 1:04}", "more", sql(up), down=sql(down), header='phase = "expand"')


class OfTree(Measured):
    """The tree of another tool."""

    def __init__(self, tree: Tree, status: tuple[str, ...], up: tuple[str, ...]) -> None:
        """Remember how the tool is called."""
        self.tree, self.status, self.up = tree, status, up
        super().__init__(tree)

    def add(self, number: int, up: str, down: str) -> None:
        """Write a migration."""
        self.tree.add(number, up, down, phase="expand")


def _dbmate(root: Path, server: PostgresServer, database: str) -> Measured:
    program = (str(migration_tools.dbmate()), "--no-dump-schema")
    return OfTree(DbmateTree(root, server, database), (*program, "status"), (*program, "up"))


def _django(root: Path, server: PostgresServer, database: str) -> Measured:
    program = (str(migration_tools.django_python()), "manage.py", "migrate")
    return OfTree(DjangoTree(root, server, database), (*program, "--check"), (*program, "--no-input"))


def _knex(root: Path, server: PostgresServer, database: str) -> Measured:
    program = (str(migration_tools.node()), "node_modules/knex/bin/cli.js")
    return OfTree(KnexTree(root, server, database), (*program, "migrate:list"), (*program, "migrate:latest"))


TOOLS: Mapping[str, Callable[[Path, PostgresServer, str], Measured]] = {
    "alembic": OfAlembic,
    "dbmate": _dbmate,
    "django": _django,
    "knex": _knex,
}


def measure(tool: str, tables: int, server: PostgresServer, root: Path, *, runs: int, bare: bool) -> list[Figure]:
    """Measure a tool on a schema of so many tables.

    Args:
        tool: one of ``TOOLS``.
        tables: of the schema.
        server: where it is to be.
        root: an empty directory.
        runs: how often each is done.
        bare: whether the bare tool is measured too; it does the same whatever the size of the schema is.
    """
    measured = TOOLS[tool](root, server, server.create_database())
    called = measured.called
    _module(called)
    called.query(SCHEMA.format(tables=tables))
    found = []
    if bare:
        pairs = [(_bare(called, measured.status), _module(called)) for _ in range(runs)]
        found.append(_against(tool, tables, NOTHING, pairs, lambda seconds: seconds + START_SECONDS))
        pairs = []
        for _ in range(runs):
            measured.more()
            alone = _bare(called, measured.up)
            measured.more()
            pairs.append((alone, _module(called)))
        allowed = lambda seconds: seconds * (1 + SHARE) + MORE_SECONDS  # noqa: E731  # one of two formulas
        found.append(_against(tool, tables, APPLYING, pairs, allowed))
    measured.more()
    own = []
    for _ in range(runs):
        (root / "state" / "rehearsal.json").unlink(missing_ok=True)
        own.append(_module(called, state="rehearsed"))
    limit = SMALL_SECONDS if tables <= SMALL else LARGE_SECONDS
    return [*found, Figure(tool, tables, REHEARSAL, _median(own), None, limit)]


def _against(
    tool: str, tables: int, what: str, pairs: list[tuple[Cost, Cost]], allowed: Callable[[float], float]
) -> Figure:
    bare, own = _median([one for one, _ in pairs]), _median([one for _, one in pairs])
    return Figure(tool, tables, what, own, bare, allowed(bare.wall))


def _median(costs: list[Cost]) -> Cost:
    return Cost(statistics.median(one.wall for one in costs), statistics.median(one.cpu for one in costs))


def _bare(called: Called, command: tuple[str, ...]) -> Cost:
    url = called.env_file.read_text(encoding="utf-8").partition('"')[2].partition('"')[0]
    return _run(list(command), called.tree, {"DATABASE_URL": url}, b"")


def _module(called: Called, **options: Any) -> Cost:
    given = json.dumps({**called.params, **options}).encode()
    path = str(REPOSITORY / "playbooks" / "collections")
    return _run([sys.executable, "-c", RUNNER], called.root, {"PYTHONPATH": path}, given)


def _run(command: list[str], directory: Path, variables: Mapping[str, str], given: bytes) -> Cost:
    output = directory / "bench.out"
    with output.open("wb") as stream:
        began = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        assert process.stdin is not None
        process.stdin.write(given)
        process.stdin.close()
        _pid, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:3])} ended with {process.returncode}: {output.read_text()[-2000:]}")
    output.unlink()
    return Cost(wall, used.ru_utime + used.ru_stime)
