# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The app's own commands as migration tool, such as ``npm run migrate:up``; what they have to do is documented in ``db_migrate``."""

from __future__ import annotations

import json
import re
import typing
from dataclasses import dataclass

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_plan import PHASES, Revision, Schema, in_line
from ansible_collections.baton.release.plugins.module_utils.migration_project import (
    Project,
    require_program,
    require_tree,
)

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_lock import LockSession
    from ansible_collections.baton.release.plugins.module_utils.migration_plan import Way
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Ended, ToolSettings

__all__ = ["COMMANDS", "Command", "parse_status"]

COMMANDS = ("status", "up", "up_to", "down", "version")
_PLACE = "{revision}"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]{0,199}")
_PLAIN = re.compile(r"\[([Xx ?])\][ \t]+(\S+)(?:[ \t]+(\S.*))?")
_EMPTY = "no migrations"
_NOTHING = ("", "base", "none")


@dataclass(frozen=True)
class _Line:
    """What one line of the status says."""

    revision: Revision
    applied: bool
    known: bool


class Command:
    """The app's own commands: what they say of the tree and the database, and the way up and down."""

    remembers = False

    def __init__(self, settings: ToolSettings, *, commands: typing.Mapping[str, typing.Sequence[str] | None]) -> None:
        """Find what the app brought.

        Args:
            settings: how the commands are run.
            commands: for each of ``COMMANDS`` its words; ``status`` and ``up`` at least.

        Raises:
            NotThereYet: the tree, a program or the database URL is not there.
            BatonError: an env file cannot be read.
        """
        require_tree(settings)
        self._commands = {name: list(words) for name, words in commands.items() if words}
        for name, words in self._commands.items():
            # A path with a slash is one inside of the tree, as the command will see it.
            inside = "/" in words[0] and not words[0].startswith("/")
            program = str(settings.project_dir / words[0]) if inside else words[0]
            require_program(settings, program, option=f"commands.{name}", what="program")
        self._project = Project(settings, configuration="the app's own tool", tool="its commands")
        self.surroundings = self._project.surroundings

    def schema(self) -> Schema:
        """Read what the commands ``status`` and ``version`` say.

        Raises:
            BatonError: one of them failed, or what they say makes no sense.
        """
        ended = self._read("status")
        lines = parse_status(ended.output)
        revisions = in_line(one.revision for one in lines if one.known)
        done = tuple(one.revision.revision for one in lines if one.applied)
        if "version" in self._commands:
            _refuse_contradiction(self._read("version"), done)
        return Schema(done[-1:], tuple(one.revision for one in revisions[-1:]), revisions, done)

    def up(self, way: Way, session: LockSession) -> Ended:
        """Run ``up``, or ``up_to`` for a revision that is not the last one, while ``session`` holds the lock.

        Raises:
            BatonError: there is no command for that.
        """
        name = "up" if way.targets == way.before.heads else "up_to"
        return self._change(name, way.targets[0], way, session)

    def down(self, way: Way, session: LockSession) -> Ended:
        """Run ``down`` for each step, and see each time that it has undone that one, while ``session`` holds the lock.

        Raises:
            BatonError: there is no command for that.
        """
        for number, step in enumerate(way.steps):
            ended = self._change("down", step.revision, way, session)
            if ended.returncode != 0:
                return ended
            left = [one.revision for one in way.steps[number + 1 :]]
            now = {one.revision for one in self.schema().applied()}
            kept = {one.revision for one in way.before.applied()} - {one.revision for one in way.steps}
            if now != kept.union(left):
                break  # which the caller sees, and says
        return ended

    def advice(self, ended: Ended) -> str | None:
        """Return None: the commands are the app's own."""
        del ended
        return None

    def _read(self, name: str) -> Ended:
        ended = self._project.read(self._commands[name], more={"BATON_ACTION": name})
        if ended.returncode == 0:
            return ended
        error = self._project.unreadable(ended)
        raise BatonError(
            found=f"{error.found} (the command {name})",
            expected=error.expected,
            fix=error.fix,
            **error.details,
        )

    def _change(self, name: str, revision: str, way: Way, session: LockSession) -> Ended:
        if name not in self._commands:
            raise BatonError(
                found=f"no command {name}, which it takes to {way}; nothing was changed",
                expected=f"commands with {name}",
                fix=f"add {name} to commands, or ask for what the others can do",
            )
        steps = " ".join(one.revision for one in way.steps)
        more = {"BATON_ACTION": name, "BATON_REVISION": revision, "BATON_STEPS": steps}
        return self._project.change(
            [[word.replace(_PLACE, revision) for word in self._commands[name]]], session, more=more
        )


def parse_status(text: str) -> list[_Line]:
    """Return what a command ``status`` said; lines of any other form are left alone.

    Raises:
        BatonError: no line says anything, or one makes no sense.
    """
    found: list[_Line] = []
    empty = False
    for line in text.splitlines():
        one = _from_json(line.strip()) if line.lstrip().startswith("{") else _from_plain(line.strip())
        empty = empty or line.strip() == _EMPTY
        if one:
            found.append(one)
    names = [one.revision.revision for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _unfit(f"{', '.join(twice)} more than once", "each migration on one line")
    if not found and not empty:
        raise _unfit("no line about a migration", f"a line for each migration, or '{_EMPTY}'")
    return found


def _from_json(line: str) -> _Line | None:
    try:
        told = json.loads(line)
    except ValueError:
        return None
    if not isinstance(told, dict) or "revision" not in told:
        return None
    applied, known = told.get("applied"), told.get("known", True)
    if not isinstance(applied, bool) or not isinstance(known, bool) or not (applied or known):
        raise _unfit(f"the line {line[:200]}", "applied and known as true or false, and not both of them false")
    revision = Revision(
        _named(told["revision"]),
        description=str(told.get("description", "")),
        phase=_phase(told.get("phase", "unmarked"), line),
        down=_chosen("down", told.get("down", "yes"), ("yes", "empty", "refuses"), line),
    )
    return _Line(revision, applied, known)


def _from_plain(line: str) -> _Line | None:
    found = _PLAIN.fullmatch(line)
    if not found:
        return None
    mark, name, phase = found.groups()
    revision = Revision(_named(name), phase=_phase(phase or "unmarked", line))
    return _Line(revision, applied=mark != " ", known=mark != "?")


def _named(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _unfit(f"the revision {str(name)[:200]!r}", "letters, digits and _ . : + -, no - or . first")
    return name


def _phase(phase: object, line: str) -> str:
    return _chosen("the phase", phase, PHASES, line)


def _chosen(what: str, value: object, choices: tuple[str, ...], line: str) -> str:
    if value not in choices:
        raise _unfit(f"the line {line[:200]}", f"{what} as one of {', '.join(choices)}")
    return str(value)


def _refuse_contradiction(ended: Ended, done: tuple[str, ...]) -> None:
    last = ([line.strip() for line in ended.output.splitlines() if line.strip()] or [""])[-1]
    said = (last.split() or [""])[-1]
    if said.lower() in _NOTHING and not done:
        return
    if said and done and done[-1].startswith(said):
        return
    raise BatonError(
        found=f"the command version says {said or 'nothing'}, and the command status says {done[-1] if done else 'base'}",
        expected="both to say the same, which they do not after a migration that ended half-way",
        fix="look at what the app's tool says of its last migration, mend that, and run again; nothing was changed",
    )


def _unfit(found: str, expected: str) -> BatonError:
    return BatonError(
        found=f"the command status printed {found}",
        expected=expected,
        fix="correct the command; what it has to print is in the documentation of db_migrate",
    )
