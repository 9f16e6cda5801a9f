# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The migration tool Alembic, as the app brings it along in its release tree."""

from __future__ import annotations

import contextlib
import inspect
import typing

from ansible_collections.baton.release.plugins.module_utils import _alembic_reader
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_kinds import SQLITE
from ansible_collections.baton.release.plugins.module_utils.migration_plan import Revision, Schema
from ansible_collections.baton.release.plugins.module_utils.migration_project import (
    Project,
    require_program,
    require_tree,
)
from ansible_collections.baton.release.plugins.module_utils.migration_session import SQLALCHEMY

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_lock import LockSession
    from ansible_collections.baton.release.plugins.module_utils.migration_plan import Way
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Ended, ToolSettings

__all__ = ["Alembic"]


class Alembic:
    """The app's Alembic: where its tree and the database are, and the way up and down."""

    remembers = False

    def __init__(self, settings: ToolSettings, *, python: str) -> None:
        """Find what the app brought.

        Args:
            settings: how the tool is run.
            python: the interpreter that has Alembic.

        Raises:
            NotThereYet: the tree, its alembic.ini, the interpreter or the database URL is not there.
            BatonError: an env file cannot be read.
        """
        require_tree(settings, "alembic.ini")
        require_program(settings, python, option="python", what="interpreter")
        self._python = python
        self._reader = [python, "-c", inspect.getsource(_alembic_reader)]
        self._ask: typing.Callable[[], dict[str, typing.Any]] | None = None
        self._project = Project(settings, configuration="the app's env.py", tool="alembic", url_for=SQLALCHEMY)
        self.surroundings = self._project.surroundings

    def schema(self) -> Schema:
        """Read where the tree and the database are; writes nothing.

        Raises:
            BatonError: the interpreter has no Alembic, or the app's env.py failed.
        """
        ask, self._ask = self._ask, None
        answer = ask() if ask else self._project.ask(self._reader, program="")
        if len(answer["current"]) != 1:
            raise BatonError(
                found=f"an env.py that migrates {len(answer['current'])} databases",
                expected="exactly one database for each db_migrate task",
                fix="give each database a tree with an alembic.ini of its own",
            )
        revisions = tuple(Revision(**{**one, "parents": tuple(one["parents"])}) for one in answer["revisions"])
        return Schema(tuple(sorted(answer["current"][0])), tuple(sorted(answer["heads"])), revisions)

    @contextlib.contextmanager
    def reading_ahead(self) -> typing.Iterator[None]:
        """Load Alembic for the next ``schema`` already, which takes it longer than to read."""
        if self._project.kind == SQLITE:
            # What is read there is a copy, which has to be made afterwards.
            yield
            return
        with self._project.asking_ahead(self._reader) as ask:
            self._ask = ask
            try:
                yield
            finally:
                self._ask = None

    def up(self, way: Way, session: LockSession) -> Ended:
        """Run ``alembic upgrade`` while ``session`` holds the lock."""
        return self._migrate("upgrade", way.targets[0] if len(way.targets) == 1 else "heads", session)

    def down(self, way: Way, session: LockSession) -> Ended:
        """Run ``alembic downgrade`` while ``session`` holds the lock."""
        return self._migrate("downgrade", way.targets[0], session)

    def advice(self, ended: Ended) -> str | None:
        """Return None: what Alembic says is what the database says."""
        del ended
        return None

    def _migrate(self, verb: str, target: str, session: LockSession) -> Ended:
        return self._project.change([[self._python, "-m", "alembic", verb, target]], session)
