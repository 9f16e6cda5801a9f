# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The migrations of Flyway, as it documents what it prints as JSON; not tested with Flyway itself, which no test here can have.

A revision is the version of a migration, or of one that runs on each change R__ and its description. Flyway applies nothing before what is
applied unless it is told to, and undoes only in editions that can. Its info says where all is; the server refuses whatever it might write
meanwhile. Java's driver does not read PGOPTIONS. (Flyway 9 to 12)
"""

from __future__ import annotations

import json
import re
import typing
from dataclasses import dataclass

from ansible_collections.baton.release.plugins.module_utils._psycopg import libpq_environment
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import read_text
from ansible_collections.baton.release.plugins.module_utils.migration_jdbc import jdbc_address
from ansible_collections.baton.release.plugins.module_utils.migration_plan import Revision, Schema, in_line
from ansible_collections.baton.release.plugins.module_utils.migration_project import (
    JAVA_READ_TIMEOUT,
    Project,
    require_program,
    require_tree,
)
from ansible_collections.baton.release.plugins.module_utils.migration_tool import Ended, mask

if typing.TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.baton.release.plugins.module_utils.migration_lock import LockSession
    from ansible_collections.baton.release.plugins.module_utils.migration_plan import Way
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import ToolSettings

__all__ = ["Flyway", "Info", "read_info"]

Row = typing.Mapping[str, typing.Any]

_APPLICATION = "baton.db_migrate flyway"
_LATE = "Ignored"
_PENDING = ("Pending", "Above Target", _LATE)
# What a baseline stands for, which is never to be applied.
_BELOW = ("Below Baseline", "Ignored (Baseline)")
_DONE = ("Success", "Out of Order", "Outdated", "Superseded", "Baseline")
_UNKNOWN = ("Missing", "Future")
_FAILED_UNKNOWN = ("Failed (Missing)", "Failed (Future)")
_FAILED = ("Failed", *_FAILED_UNKNOWN)
_GONE = ("Undone", "Deleted", "Available")
_PHASE = re.compile(r"^--[ \t]*phase:[ \t]*(.*?)[ \t\r]*$", re.MULTILINE)
_NOTHING = re.compile(r"--[^\n]*|/\*.*?\*/|[;\s]", re.DOTALL)
_OBJECT = re.compile(r"^\{", re.MULTILINE)


@dataclass(frozen=True)
class Info:
    """What ``flyway info`` says: migrations of the tree, what is applied in its order, and what has failed."""

    revisions: tuple[Revision, ...] = ()
    done: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    """Pending, and older than what is applied."""
    failed: tuple[str, ...] = ()


class Flyway:
    """The app's Flyway: where its migrations and the database are, and the way up and down."""

    remembers = True

    def __init__(self, settings: ToolSettings, *, program: str, down: bool) -> None:
        """Find what the app brought.

        Args:
            settings: how the tool is run.
            program: Flyway itself, or its name on PATH.
            down: whether something is to be undone.

        Raises:
            NotThereYet: the tree, Flyway or the database URL is not there.
            BatonError: an env file cannot be read.
        """
        require_tree(settings)
        require_program(settings, program, option="flyway_program", what="program")
        self._program, self._down, self._directory = program, down, settings.project_dir
        self._project = Project(settings, configuration="the app's configuration of Flyway", tool="Flyway")
        self.surroundings = self._project.surroundings
        self._info = Info()

    def schema(self) -> Schema:
        """Read what ``flyway info`` says.

        Raises:
            BatonError: it cannot be read, or something is to be undone and this Flyway can undo nothing.
        """
        more = self._variables(self._project.options_to_read())
        ended = self._told(self._project.read(self._words("info"), more=more, timeout=JAVA_READ_TIMEOUT))
        told = _answer(ended.output)
        if ended.returncode != 0 or told is None:
            raise self._project.unreadable(ended)
        around = self.surroundings
        database = libpq_environment(around.variables, around.url).get("PGDATABASE")
        if database and told.get("database") not in ("", None, database):
            raise BatonError(
                found=f"a Flyway that reads the database {told['database']}",
                expected=f"{database}, as the database URL says",
                fix="have the app's configuration of Flyway leave the url of its environment to FLYWAY_URL; nothing was changed",
            )
        self._info = info = read_info(told.get("migrations") or [], self._directory)
        if self._down and info.done and not any(one.down != "refuses" for one in info.revisions):
            raise BatonError(
                found="a Flyway that says of none of its migrations that it can be undone; nothing was changed",
                expected="undo migrations (U files) in the tree, and an edition of Flyway that has undo",
                fix="add them, or correct the schema with a new migration, or restore a backup",
            )
        return Schema(info.done[-1:], tuple(one.revision for one in info.revisions[-1:]), info.revisions, info.done)

    def up(self, way: Way, session: LockSession) -> Ended:
        """Run ``flyway migrate``, with ``-target`` for a revision before the last one, while ``session`` holds the lock.

        Raises:
            BatonError: a migration has failed before, or Flyway would apply something else than the steps.
        """
        self._refuse_failed()
        steps = [one.revision for one in way.steps]
        late = [one for one in self._info.late if one in steps]
        if late:
            raise BatonError(
                found=f"{', '.join(late)}, older than what is applied; nothing was changed",
                expected="new migrations with a version above, because Flyway does not go back for others",
                fix="give them a newer version and release again, or set FLYWAY_OUT_OF_ORDER to true in environment",
            )
        if way.targets == way.before.heads:
            return self._change([self._words("migrate")], session)
        on_each_change = [one.revision for one in way.before.pending() if one.revision.startswith("R__")]
        if on_each_change:
            raise BatonError(
                found=f"{', '.join(on_each_change)}, which Flyway would apply as well, whatever the target; nothing was changed",
                expected=f"to {way}, and nothing else",
                fix="leave out the revision, to apply all",
            )
        return self._change([self._words("migrate", f"-target={way.targets[0]}")], session)

    def down(self, way: Way, session: LockSession) -> Ended:
        """Run ``flyway undo`` for each step while ``session`` holds the lock: it undoes the last one.

        Raises:
            BatonError: a migration has failed before.
        """
        self._refuse_failed()
        return self._change([self._words("undo") for _step in way.steps], session)

    def advice(self, ended: Ended) -> str | None:
        """Return what to do about Flyway's own refusals."""
        if "failed migration" in ended.output or "run repair" in ended.output:
            return "see what the migration has left behind, remove it by hand, run 'flyway repair', and this again"
        if "checksum mismatch" in ended.output:
            return "put the file back to what it was when it was applied, and write a new migration"
        if "Edition Required" in ended.output or "Upgrade required" in ended.output:
            return "use an edition of Flyway that has undo, or correct the schema with a new migration"
        return None

    def _refuse_failed(self) -> None:
        if self._info.failed:
            raise BatonError(
                found=f"{', '.join(self._info.failed)}, which Flyway has noted as failed: it ran outside a transaction;"
                " nothing was changed",
                expected="no migration that ended half-way",
                fix="see what it has left behind, remove it by hand, run 'flyway repair', and this again",
            )

    def _words(self, *words: str) -> list[str]:
        return [self._program, *words, "-outputType=json"]

    def _change(self, commands: list[list[str]], session: LockSession) -> Ended:
        more = self._variables(self._project.options_to_change(session))
        return self._told(self._project.change(commands, session, more=more))

    def _variables(self, options: str) -> dict[str, str]:
        around = self.surroundings
        address = jdbc_address(around.variables, around.url, options=options, application_name=_APPLICATION)
        more = {"FLYWAY_URL": address.url, "REDGATE_DISABLE_TELEMETRY": "true"}
        if address.user:
            more["FLYWAY_USER"] = address.user
        if address.password:
            more["FLYWAY_PASSWORD"] = address.password
        return more

    def _told(self, ended: Ended) -> Ended:
        """Return how it ended with its error as the last lines; what says that it failed has failed, however it ended."""
        answer = _answer(ended.output)
        if answer is None:
            return ended
        error = answer.get("error")
        if not error and answer.get("success") is not False:
            return ended
        message = str((error or {}).get("message") or "it did not succeed")
        lines = [line for line in mask(message, self.surroundings.secrets).splitlines() if line.strip()]
        return Ended(ended.returncode or 1, ended.output, [f"ERROR: {lines[0]}", *lines[1:]])


def _answer(output: str) -> dict[str, typing.Any] | None:
    """Return the JSON object in what was printed, among warnings of Java; None where there is none."""
    for place in _OBJECT.finditer(output):
        try:
            found, _end = json.JSONDecoder().raw_decode(output, place.start())
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return None


def read_info(rows: typing.Iterable[Row], directory: Path) -> Info:
    """Return what the rows of ``flyway info`` mean.

    Args:
        rows: the list ``migrations``.
        directory: in which the files of migrations are, where they are named without a directory.

    Raises:
        BatonError: a state that this driver does not know.
    """
    tree: dict[str, Revision] = {}
    below: list[str] = []
    done: list[str] = []
    pending: set[str] = set()
    late: list[str] = []
    failed: list[str] = []
    for row in rows:
        state, name = str(row.get("state")), _name(row)
        if state not in (*_PENDING, *_BELOW, *_DONE, *_UNKNOWN, *_FAILED, *_GONE):
            raise BatonError(
                found=f"a migration in the state '{state}', of which this driver knows nothing",
                expected="the states that Flyway documents",
                fix="apply the migrations by hand, and report this; nothing was changed",
            )
        # What a condition keeps from being applied is not waited for.
        if name is None or state in _GONE or (state == _LATE and row.get("shouldExecuteExpression")):
            continue
        if state not in (*_UNKNOWN, *_FAILED_UNKNOWN):
            tree[name] = _revision(name, row, directory)
        if state in _PENDING:
            pending.add(name)
            late += [name] if state == _LATE else []
        elif state in _FAILED:
            failed.append(name)
        elif state in _BELOW:
            below.append(name)
        else:
            done = [*(one for one in done if one != name), name]
    revisions = in_line(sorted(tree.values(), key=lambda one: _place(one.revision)))
    applied = [one for one in (*below, *done) if one not in pending]
    return Info(revisions, tuple(applied), tuple(late), tuple(failed))


def _name(row: Row) -> str | None:
    category, version = row.get("category"), str(row.get("version") or "")
    if category == "Versioned":
        return version
    if category == "Repeatable":
        return "R__" + re.sub(r"\s+", "_", str(row.get("description")))
    if category == "Baseline" and row.get("state") not in _BELOW:
        return f"B{version}"
    return None  # an undo, or what Flyway notes beside migrations


def _revision(name: str, row: Row, directory: Path) -> Revision:
    text, undo = (_text(row.get(key), directory) for key in ("filepath", "undoFilepath"))
    down = "refuses" if row.get("undoable") != "Yes" else "empty" if undo and not _NOTHING.sub("", undo) else "yes"
    phase = _PHASE.search(text)
    return Revision(name, str(row.get("description") or ""), phase=phase[1] if phase else "unmarked", down=down)


def _text(path: object, directory: Path) -> str:
    return (read_text(directory / path) or "") if isinstance(path, str) and path else ""


def _place(revision: str) -> tuple[int, list[int], str]:
    """Return where a migration comes: by its version, and all that run on each change after them, by name."""
    if revision.startswith("R__"):
        return (1, [], revision)
    numbers = [int(part) for part in re.findall(r"\d+", revision)]
    while numbers and numbers[-1] == 0:  # 1.0 is 1
        numbers.pop()
    return (0, numbers, revision)
