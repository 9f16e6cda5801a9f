# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The changesets of Liquibase: the changelog in the app's release tree, in its order.

A revision is what Liquibase prints of a changeset: file::id::author. Its status would write its tables, so the tree is read by a Liquibase
that is given no database, and its table here. Its status says nothing of what a newer tree applied, and a rollback counts only what the
tree knows. Its own lock is a row that outlives a process which is killed. Java's driver does not read PGOPTIONS. (Liquibase 4)
"""

from __future__ import annotations

import re
import typing
from dataclasses import replace

from ansible_collections.baton.release.plugins.module_utils._liquibase_reader import IRREVERSIBLE, Changeset, Reader
from ansible_collections.baton.release.plugins.module_utils._liquibase_tables import (
    APPLICATION,
    MARK,
    Tables,
    configured,
)
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_jdbc import jdbc_address
from ansible_collections.baton.release.plugins.module_utils.migration_plan import Revision, Schema, in_line
from ansible_collections.baton.release.plugins.module_utils.migration_project import (
    Project,
    require_program,
    require_tree,
)
from ansible_collections.baton.release.plugins.module_utils.migration_tool import NotThereYet

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_lock import LockSession
    from ansible_collections.baton.release.plugins.module_utils.migration_plan import Way
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Ended, ToolSettings

__all__ = ["Liquibase", "changed", "described"]

_PHASE = re.compile(r"^[ \t]*phase:[ \t]*(\w*)[ \t]*[;,.]?[ \t]*", re.MULTILINE)
# What it would do besides: ask a person, show who made it, wait five minutes for a lock that was free before.
_QUIET = {
    "LIQUIBASE_HEADLESS": "true",
    "LIQUIBASE_SHOW_BANNER": "false",
    "LIQUIBASE_CHANGELOG_LOCK_WAIT_TIME_IN_MINUTES": "1",
}


class Liquibase:
    """The app's Liquibase: where its changelog and the database are, and the way up and down."""

    remembers = True

    def __init__(self, settings: ToolSettings, *, program: str, changelog: str | None, down: bool) -> None:
        """Find what the app brought.

        Args:
            settings: how the tool is run.
            program: Liquibase itself, or its name on PATH.
            changelog: the first file of the changelog inside of the tree; None for what liquibase.properties says.
            down: whether it has to be known which changesets can be undone, which takes a Java more.

        Raises:
            NotThereYet: the tree, its changelog, Liquibase or the database URL is not there.
            BatonError: an env file cannot be read.
        """
        require_tree(settings, *([changelog] if changelog else []))
        require_program(settings, program, option="liquibase_program", what="program")
        self._program, self._down = program, down
        self._project = Project(settings, configuration="the app's changelog", tool="Liquibase")
        self.surroundings = self._project.surroundings
        variables = self.surroundings.variables
        told = configured(settings.project_dir, variables)
        if not changelog and not told.get("changelogfile"):
            raise NotThereYet(
                found=f"no liquibase.properties in {settings.project_dir} that names a changelogFile",
                expected="the app's changelog",
                fix="name its first file in the option liquibase_changelog, or unpack the app's artifact on this host first",
            )
        self._more = {name: value for name, value in _QUIET.items() if name not in variables}
        if changelog:
            self._more["LIQUIBASE_COMMAND_CHANGELOG_FILE"] = changelog
        self._reader = Reader(self._project, program, self._more)
        self._tables = Tables(self.surroundings, told)
        self._tree: list[Changeset] = []
        self._ran: list[Changeset] = []
        self._again: set[str] = set()
        self._undone: dict[str, str] = {}

    def schema(self) -> Schema:
        """Read the changelog and the table of Liquibase; writes nothing.

        A changeset that is to run on each change, and was changed, counts as one that is pending.

        Raises:
            BatonError: the changelog or the database cannot be read, or a changeset was changed that must not be.
        """
        self._ran = self._tables.ran()
        if not self._tree:
            self._tree = self._reader.tree()
        edited = changed(self._tree, self._ran)
        self._again = edited.intersection(self._reader.next_update(self._ran)) if edited else set()
        if self._down and not self._undone and self._ran:
            self._undone = self._reader.undone(self._ran)
        revisions = in_line(replace(described(one), down=self._undone.get(one.name, "yes")) for one in self._tree)
        done = tuple(one.name for one in self._ran if one.name not in self._again)
        return Schema(done[-1:], tuple(one.revision for one in revisions[-1:]), revisions, done)

    def up(self, way: Way, session: LockSession) -> Ended:
        """Run ``liquibase update``, or ``update-count`` to a revision before the last one, while ``session`` holds the lock.

        Raises:
            BatonError: somebody else holds the lock of Liquibase.
        """
        words = ["update"]
        if way.targets != way.before.heads:
            # It counts what runs each time as well.
            count = self._reader.next_update(self._ran).index(way.steps[-1].revision) + 1
            words = ["update-count", f"--count={count}"]
        return self._change(words, session)

    def down(self, way: Way, session: LockSession) -> Ended:
        """Run ``liquibase rollback-count`` while ``session`` holds the lock.

        Raises:
            BatonError: it would undo something else than the steps, or somebody else holds the lock of Liquibase.
        """
        known = {one.name for one in self._tree}
        last = [one.name for one in self._ran if one.name in known][: -len(way.steps) - 1 : -1]
        if last != [one.revision for one in way.steps]:
            others = sorted(set(last) - {one.revision for one in way.steps})
            raise BatonError(
                found=f"{', '.join(others) or ', '.join(last)}, which a rollback would undo as well; nothing was changed",
                expected=f"to {way}, and nothing else",
                fix="apply the changesets of this tree that were changed first, or choose another revision",
            )
        return self._change(["rollback-count", f"--count={len(way.steps)}"], session)

    def advice(self, ended: Ended) -> str | None:
        """Return what to do about Liquibase's own refusals."""
        if "Could not acquire change log lock" in ended.output:
            return "see that nobody runs Liquibase by hand, and that the app does not migrate by itself as it starts, and run again"
        if "check sum" in ended.output:
            return "put the changeset back to what it was when it was applied, and write a new one; what is named was edited since"
        if IRREVERSIBLE.search(ended.output):
            return (
                "write a rollback for the changeset, or choose a revision at or above it; what came after it is undone"
            )
        return None

    def _change(self, words: list[str], session: LockSession) -> Ended:
        self._tables.free_lock()
        around = self.surroundings
        options = self._project.options_to_change(session)
        address = jdbc_address(around.variables, around.url, options=options, application_name=APPLICATION)
        more = {
            **self._more,
            "LIQUIBASE_COMMAND_URL": address.url,
            "JAVA_OPTS": f"{around.variables.get('JAVA_OPTS', '')} -Dliquibase.hostDescription={MARK}".strip(),
        }
        if address.user:
            more["LIQUIBASE_COMMAND_USERNAME"] = address.user
        if address.password:
            more["LIQUIBASE_COMMAND_PASSWORD"] = address.password
        return self._project.change([[self._program, *words]], session, more=more)


def changed(tree: typing.Iterable[Changeset], ran: typing.Iterable[Changeset]) -> set[str]:
    """Return the names of those whose text is another one than when they ran, as far as the checksums can be compared."""
    now = {one.name: one.checksum for one in tree}
    return {
        one.name
        for one in ran
        if one.checksum
        and (new := now.get(one.name))
        and new != one.checksum
        and new.partition(":")[0] == one.checksum.partition(":")[0]
    }


def described(one: Changeset) -> Revision:
    """Return a changeset as a revision; a line ``phase: contract`` in its comment gives its phase."""
    phase = _PHASE.search(one.comments)
    words = " ".join(_PHASE.sub("", one.comments, count=1).split())
    return Revision(one.name, description=words or one.description, phase=phase[1] if phase else "unmarked")
