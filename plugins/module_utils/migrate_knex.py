# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The migrations of knex, as the app brings them along in its release tree.

A revision is the name of a file. knex knows no way up or down to one: it is gone step by step. knex refuses a tree that lacks an
applied migration. Its own lock is a row that outlives a process which is killed in a migration without a transaction.
(knex 2 and 3)
"""

from __future__ import annotations

import typing

from ansible_collections.baton.release.plugins.module_utils import _knex_reader
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_kinds import MYSQL, POSTGRESQL, SQLITE
from ansible_collections.baton.release.plugins.module_utils.migration_plan import Revision, Schema, in_line
from ansible_collections.baton.release.plugins.module_utils.migration_project import (
    Project,
    require_program,
    require_tree,
)

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_lock import LockSession
    from ansible_collections.baton.release.plugins.module_utils.migration_plan import Way
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Ended, ToolSettings

__all__ = ["Knex"]

_DIALECTS = {POSTGRESQL: "postgresql", MYSQL: "mysql", SQLITE: "sqlite3"}
_KNEXFILES = ("knexfile.js", "knexfile.cjs", "knexfile.mjs", "knexfile.ts")
_UNLOCK = "see that nobody runs knex by hand, then run 'knex migrate:unlock' in the release tree, and this again"


class Knex:
    """The app's knex: where its tree and the database are, and the way up and down."""

    remembers = True

    def __init__(self, settings: ToolSettings, *, node: str, knexfile: str | None) -> None:
        """Find what the app brought.

        Args:
            settings: how the tool is run.
            node: the program that runs knex.
            knexfile: knex's configuration inside of the tree; None for one of the usual names.

        Raises:
            NotThereYet: the tree, its knexfile, Node.js or the database URL is not there.
            BatonError: an env file cannot be read.
        """
        names = (knexfile,) if knexfile else _KNEXFILES
        require_tree(settings, *names)
        require_program(settings, node, option="knex_node", what="Node.js")
        self._node = node
        self._knexfile = next(name for name in names if (settings.project_dir / name).exists())
        self._project = Project(settings, configuration="the app's knexfile", tool="knex")
        self.surroundings = self._project.surroundings
        self._answer: dict[str, typing.Any] = {}

    def schema(self) -> Schema:
        """Read where the tree and the database are; writes nothing, while ``knex migrate:list`` would make its tables.

        Raises:
            BatonError: the tree has no knex, or the knexfile or one of the migrations cannot be loaded.
        """
        self._answer = self._project.ask(
            [self._node, "--input-type=commonjs", "-", self._knexfile, _DIALECTS[self._project.kind]],
            program=_knex_reader.PROGRAM,
        )
        if "dialect" in self._answer:
            raise BatonError(
                found=f"a knexfile for {self._answer['dialect']}, and a database URL of {self._project.kind}",
                expected="one and the same database, because the migration lock lives there",
                fix="correct the knexfile, NODE_ENV or the URL",
            )
        revisions = in_line(Revision(**one) for one in self._answer["revisions"])
        done = tuple(self._answer["done"])
        return Schema(done[-1:], tuple(one.revision for one in revisions[-1:]), revisions, done)

    def up(self, way: Way, session: LockSession) -> Ended:
        """Run ``knex migrate:latest``, or ``migrate:up`` for each step to a revision before it, while ``session`` holds the lock.

        Raises:
            BatonError: knex holds itself to be migrating.
        """
        self._refuse_locked()
        if way.targets == way.before.heads:
            return self._project.change([self._knex("migrate:latest")], session)
        return self._project.change([self._knex("migrate:up", one.revision) for one in way.steps], session)

    def down(self, way: Way, session: LockSession) -> Ended:
        """Run ``knex migrate:down`` for each step while ``session`` holds the lock.

        Raises:
            BatonError: knex holds itself to be migrating.
        """
        self._refuse_locked()
        return self._project.change([self._knex("migrate:down", one.revision) for one in way.steps], session)

    def advice(self, ended: Ended) -> str | None:
        """Return what to do about knex's own refusals."""
        if "MigrationLocked" in ended.output or "already locked" in ended.output:
            return _UNLOCK
        if "migration directory is corrupt" in ended.output:
            return (
                "release a tree that holds every applied migration: knex does nothing with one that lacks some of them"
            )
        return None

    def _refuse_locked(self) -> None:
        if self._answer.get("locked"):
            raise BatonError(
                found=f"a lock in {self._answer['table']}_lock, although no db_migrate is running:"
                " knex was killed in a migration without a transaction, or somebody runs it by hand; nothing was changed",
                expected="no lock of knex's own while the lock of this module is held",
                fix=f"look at what that migration has done; {_UNLOCK}",
            )

    def _knex(self, *words: str) -> list[str]:
        return [self._node, self._answer["cli"], *words, "--knexfile", self._knexfile]
