# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The changes of Sqitch: SQL scripts in the app's release tree, in the order of its plan.

A revision is the name of a change; of one that was reworked, the later instances have the beginning of their id after it, so that a name
means the same in every tree. What a newer tree applied Sqitch's own status only refuses, so the registry is read here. Left to itself,
Sqitch undoes a whole run when one change fails, reverts everything from an older tree, and says yes to that where there is no terminal:
it is told otherwise each time. (Sqitch 1)
"""

from __future__ import annotations

import re
import typing
from dataclasses import replace
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils._psycopg import connect, in_words, libpq_environment
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import read_text
from ansible_collections.baton.release.plugins.module_utils.migration_plan import BASE, Revision, Schema, in_line
from ansible_collections.baton.release.plugins.module_utils.migration_project import (
    Project,
    require_program,
    require_tree,
)

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_lock import LockSession
    from ansible_collections.baton.release.plugins.module_utils.migration_plan import Way
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Ended, ToolSettings

__all__ = ["Change", "Sqitch", "described", "parse_plan"]

_LINE = re.compile(r"(?P<id>[0-9a-f]{40})\t(?P<project>[^\t]+)\t(?P<name>[^\t]+)\t(?P<note>.*)")
_FORMAT = "format:%H\t%o\t%n\t%s"
_PHASE = re.compile(r"^--[ \t]*phase:[ \t]*(.*?)[ \t\r]*$", re.MULTILINE)
_NOTHING = re.compile(
    r"--[^\n]*|/\*.*?\*/|^\s*(?:BEGIN|COMMIT|START\s+TRANSACTION|END)\s*;", re.MULTILINE | re.DOTALL | re.IGNORECASE
)
_SHORT = 8
# The address is all in the variables of libpq, so that nothing of it is in a command line.
_TARGET = "db:pg:"
# Who it was, which Sqitch notes for each change and cannot guess on a server.
_WHO = {"SQITCH_FULLNAME": "baton.release", "SQITCH_EMAIL": "baton.release@localhost"}


class Change(typing.NamedTuple):
    """One change of the plan."""

    id: str
    project: str
    name: str
    note: str


class Sqitch:
    """The app's Sqitch: where its plan and the database are, and the way up and down."""

    remembers = True

    def __init__(self, settings: ToolSettings, *, program: str, registry: str) -> None:
        """Find what the app brought.

        Args:
            settings: how the tool is run.
            program: Sqitch itself, or its name on PATH.
            registry: the schema in which Sqitch keeps what it has applied.

        Raises:
            NotThereYet: the tree, its sqitch.conf, Sqitch or the database URL is not there.
            BatonError: an env file cannot be read.
        """
        require_tree(settings, "sqitch.conf")
        require_program(settings, program, option="sqitch_program", what="program")
        self._program, self._registry, self._directory = program, registry, settings.project_dir
        self._project = Project(settings, configuration="the app's sqitch.conf or sqitch.plan", tool="sqitch")
        self.surroundings = self._project.surroundings
        self._plan: list[tuple[Change, Revision]] = []

    def schema(self) -> Schema:
        """Read the plan and the registry of Sqitch; writes nothing.

        Raises:
            BatonError: the plan or the database cannot be read.
        """
        if not self._plan:
            self._plan = self._read_plan()
        known = {change.id: one.revision for change, one in self._plan}
        revisions = in_line(one for _change, one in self._plan)
        # The place in the plan is a part of an id: in a plan that was sorted anew, only the names are still the same.
        applied = self._applied()
        told = {change.name for change, one in self._plan if change.name != one.revision}
        told |= {known[change] for change, _name in applied if change in known}
        done = tuple(
            known.get(change) or (f"{name}@{change[:_SHORT]}" if name in told else name) for change, name in applied
        )
        return Schema(done[-1:], tuple(one.revision for one in revisions[-1:]), revisions, done)

    def up(self, way: Way, session: LockSession) -> Ended:
        """Run ``sqitch deploy`` up to the last step while ``session`` holds the lock.

        Raises:
            BatonError: the plan has a change before the last one that is applied, which Sqitch never comes to.
        """
        applied = {one.revision for one in way.before.applied()}
        places = [number for number, (_change, one) in enumerate(self._plan) if one.revision in applied]
        late = [one.revision for one in way.steps if places and self._place(one.revision) < places[-1]]
        if late:
            raise BatonError(
                found=f"{', '.join(late)}, planned before {self._plan[places[-1]][1].revision}, which is applied; nothing was changed",
                expected="new changes at the end of sqitch.plan, because Sqitch goes on from the last one that it has applied",
                fix="move them to the end of the plan (sqitch add), and release again",
            )
        # Its own mode would undo, and drop, all that this run has applied before the change that fails.
        return self._change(["deploy", "--mode", "change", "--to", self._id(way.steps[-1].revision)], session)

    def down(self, way: Way, session: LockSession) -> Ended:
        """Run ``sqitch revert`` to the target while ``session`` holds the lock."""
        to = [] if way.targets[0] == BASE else ["--to", self._id(way.targets[0])]
        return self._change(["revert", "-y", *to], session)

    def advice(self, ended: Ended) -> str | None:
        """Return what to do about Sqitch's own refusals."""
        if "in sqitch.plan" in ended.output and "Cannot find change" in ended.output:
            return "release a tree whose plan has every applied change: Sqitch does nothing with one that lacks some of them"
        if "Blocked by another instance of Sqitch" in ended.output:
            return "see that nobody runs sqitch by hand, and run again"
        return None

    def _place(self, revision: str) -> int:
        return next(number for number, (_change, one) in enumerate(self._plan) if one.revision == revision)

    def _id(self, revision: str) -> str:
        return self._plan[self._place(revision)][0].id

    def _change(self, words: list[str], session: LockSession) -> Ended:
        options = ["--target", _TARGET, "--registry", self._registry]
        return self._project.change([[self._program, *words, *options]], session, more=self._variables())

    def _variables(self) -> dict[str, str]:
        around = self.surroundings
        who = {name: value for name, value in _WHO.items() if name not in around.variables}
        return {**who, **libpq_environment(around.variables, around.url)}

    def _read_plan(self) -> list[tuple[Change, Revision]]:
        directories = self._directories(self._told(["config", "--list"]))
        changes = parse_plan(self._told(["plan", "--format", _FORMAT]))
        last = {change.name: change.id for change in changes}
        found: list[tuple[Change, Revision]] = []
        met: set[str] = set()
        for change in changes:
            name = f"{change.name}@{change.id[:_SHORT]}" if change.name in met else change.name
            met.add(change.name)
            if last[change.name] != change.id:  # reworked since: its scripts are those of a tag now
                found.append((change, Revision(name, description=change.note)))
                continue
            deploy, revert = (read_text(path / f"{change.name}{directories.extension}") for path in directories[:2])
            found.append((change, replace(described(change, deploy or "", revert), revision=name)))
        return found

    def _told(self, words: list[str]) -> str:
        ended = self._project.read([self._program, *words], more=self._variables())
        if ended.returncode != 0:
            raise self._project.unreadable(ended)
        return ended.output

    def _directories(self, config: str) -> _Directories:
        given = dict(line.split("=", 1) for line in config.splitlines() if "=" in line)

        def setting(name: str, otherwise: str) -> str:
            return given.get(f"engine.pg.{name}") or given.get(f"core.{name}") or otherwise

        top = self._directory / setting("top_dir", ".")
        deploy, revert = (
            self._directory / path if (path := setting(f"{name}_dir", "")) else top / name
            for name in ("deploy", "revert")
        )
        return _Directories(deploy, revert, f".{setting('extension', 'sql')}")

    def _applied(self) -> list[tuple[str, str]]:
        around = self.surroundings
        quoted = '"' + self._registry.replace('"', '""') + '".changes'
        with (
            in_words("to read the schema's revision from the database; nothing was changed"),
            connect(around.variables, around.url, application_name="baton.db_migrate reading") as session,
        ):
            session.execute(b"SET default_transaction_read_only = on")
            row = session.execute(b"SELECT to_regclass(%s) IS NOT NULL", [quoted]).fetchone()
            if row is None or not row[0]:
                return []
            project = self._plan[0][0].project if self._plan else ""
            rows = session.execute(
                f"SELECT change_id, change FROM {quoted} WHERE project = %s OR %s = '' ORDER BY committed_at".encode(),  # noqa: S608 - quoted above
                [project, project],
            ).fetchall()
        return [(str(change), str(name)) for change, name in rows]


class _Directories(typing.NamedTuple):
    """Where the scripts are, and how their names end."""

    deploy: Path
    revert: Path
    extension: str


def parse_plan(text: str) -> list[Change]:
    """Return the changes of a plan as Sqitch prints it; lines of any other form are left alone."""
    return [Change(**found.groupdict()) for line in text.splitlines() if (found := _LINE.fullmatch(line))]


def described(change: Change, deploy: str, revert: str | None) -> Revision:
    """Return the change with its scripts; a line ``-- phase: contract`` in the one that deploys gives its phase."""
    phase = _PHASE.search(deploy)
    down = "refuses" if revert is None else "yes" if _NOTHING.sub("", revert).strip() else "empty"
    return Revision(change.name, description=change.note, phase=phase[1] if phase else "unmarked", down=down)
