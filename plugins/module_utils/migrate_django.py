# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The migrations of a Django project, as the app brings them along in its release tree.

A revision is ``app.name``. The history is that of the table ``django_migrations``, over all apps: going down to a revision undoes
what was applied after it, in any app. ``manage.py migrate`` itself knows no lock, and an older tree ignores what it does not know.
(Django 4.2 to 5.2)
"""

from __future__ import annotations

import inspect
import typing

from ansible_collections.baton.release.plugins.module_utils import _django_reader
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_kinds import MYSQL, POSTGRESQL, SQLITE
from ansible_collections.baton.release.plugins.module_utils.migration_plan import Revision, Schema
from ansible_collections.baton.release.plugins.module_utils.migration_project import (
    Project,
    require_program,
    require_tree,
)

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_lock import LockSession
    from ansible_collections.baton.release.plugins.module_utils.migration_plan import Way
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Ended, ToolSettings

__all__ = ["Django"]

_VENDORS = {POSTGRESQL: "postgresql", MYSQL: "mysql", SQLITE: "sqlite"}


class Django:
    """The app's Django: where its tree and the database are, and the way up and down."""

    remembers = False

    def __init__(self, settings: ToolSettings, *, python: str, manage: str, alias: str) -> None:
        """Find what the app brought.

        Args:
            settings: how the tool is run.
            python: the interpreter that has Django.
            manage: the project's manage.py, inside of the tree.
            alias: the database, as the project's settings call it.

        Raises:
            NotThereYet: the tree, its manage.py, the interpreter or the database URL is not there.
            BatonError: an env file cannot be read.
        """
        require_tree(settings, manage)
        require_program(settings, python, option="python", what="interpreter")
        self._python, self._manage, self._alias = python, manage, alias
        self._project = Project(settings, configuration="the app's settings", tool="django")
        self.surroundings = self._project.surroundings

    def schema(self) -> Schema:
        """Read where the tree and the database are; writes nothing.

        Raises:
            BatonError: the interpreter has no Django, or the project cannot be loaded.
        """
        answer = self._project.ask(
            [self._python, "-", self._manage, self._alias, _VENDORS[self._project.kind]],
            program=inspect.getsource(_django_reader),
        )
        if "vendor" in answer:
            raise BatonError(
                found=f"settings whose database '{self._alias}' is {answer['vendor']}, and a database URL of {self._project.kind}",
                expected="one and the same database, because the migration lock lives there",
                fix="correct the settings, the option django_database or the URL",
            )
        revisions = tuple(Revision(**{**one, "parents": tuple(one["parents"])}) for one in answer["revisions"])
        return Schema(
            current=tuple(answer["current"]),
            heads=tuple(answer["heads"]),
            revisions=revisions,
            done=tuple(answer["done"]),
            conflict=tuple(answer["conflict"]),
        )

    def up(self, way: Way, session: LockSession) -> Ended:
        """Run ``manage.py migrate`` while ``session`` holds the lock."""
        named = way.targets[0].split(".", 1) if len(way.targets) == 1 else []
        return self._project.change([self._migrate(*named)], session)

    def down(self, way: Way, session: LockSession) -> Ended:
        """Run ``manage.py migrate`` back to before each step while ``session`` holds the lock.

        Raises:
            BatonError: Django would undo a migration that is to stay.
        """
        commands = []
        for step in way.steps:
            app, _dot, _name = step.revision.partition(".")
            before = next((one for one in step.parents if one.startswith(f"{app}.")), None)
            _refuse_siblings(way, step, before)
            commands.append(self._migrate(app, before.partition(".")[2] if before else "zero"))
        return self._project.change(commands, session)

    def advice(self, ended: Ended) -> str | None:
        """Return what to do about a history that Django refuses before it does anything."""
        if "Conflicting migrations detected" in ended.output:
            return "merge the migrations in the app ('manage.py makemigrations --merge'); nothing was changed"
        if "InconsistentMigrationHistory" in ended.output:
            return (
                "this tree has a migration that the applied ones depend on: release the newer tree again,"
                " or have the app's migrations depend on each other in the order in which they were applied"
            )
        return None

    def _migrate(self, *named: str) -> list[str]:
        return [self._python, self._manage, "migrate", *named, "--no-input", f"--database={self._alias}"]


def _refuse_siblings(way: Way, step: Revision, before: str | None) -> None:
    """Refuse what Django's own command would do too much: going back to ``before`` undoes all that follows it in its app."""
    app, steps = step.revision.partition(".")[0], {one.revision for one in way.steps}
    siblings = [
        one.revision
        for one in way.before.applied()
        if one.revision.startswith(f"{app}.") and before in one.parents and one.revision not in steps
    ]
    if before and siblings:
        raise BatonError(
            found=f"{step.revision} and {', '.join(siblings)}, both applied on top of {before}; nothing was changed",
            expected="one migration after another in each app, because Django can only undo both",
            fix=f"go down to {before}, or correct the schema with a new migration",
        )
