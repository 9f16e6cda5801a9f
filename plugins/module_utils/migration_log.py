# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What this host has done to the schema: a line before each change, and one after it.

The host that migrates keeps it, because it knows the end also when the controller that has asked is gone by then. Where the schema is,
the database says; who has brought it there, and what an older version does not survive of it, only this file and the journal tell.
"""

from __future__ import annotations

import contextlib
import json
import time
import typing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.files import append_line, read_text

__all__ = ["Attempt", "Steps", "attempts", "begin", "changes", "end", "last_failed"]

_FILE = "migrations.jsonl"
_CUT_OFF = "was cut off: this module or its host was ended in the middle of it"


@dataclass(frozen=True)
class Steps:
    """Revisions that came or went; ``contract`` are those among ``applied`` that the version before does not survive."""

    applied: list[str] = field(default_factory=list)
    contract: list[str] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Attempt:
    """One change of the schema, or what was to be one."""

    token: int | None
    """The lease under which it was made, None for none."""
    at: float
    """Seconds since 1970 at which it began."""
    what: str
    steps: Steps
    """What was done; what was to be done where ``known`` is not so."""
    known: bool
    """Whether what was done was seen in the database."""
    how: str | None
    """How it ended, None for well."""

    def __str__(self) -> str:
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.at))
        return f"the attempt of {when} to {self.what} {self.how}"


def begin(state_dir: Path, what: str, steps: Steps, *, token: int | None) -> None:
    """Note that ``steps`` are begun, and ``what`` that is in words."""
    _append(state_dir, {"event": "begun", "token": token, "at": time.time(), "what": what, **asdict(steps)})


def end(state_dir: Path, how: str | None, steps: Steps | None) -> None:
    """Note ``how`` the last attempt ended, None for well, and which of its ``steps`` are done; None where that is not known."""
    done = asdict(steps) if steps else {}
    _append(state_dir, {"event": "ended", "how": how, "known": steps is not None, **done})


def attempts(state_dir: Path) -> list[Attempt]:
    """Return all of them, the oldest first. A line that was torn by a power cut counts for nothing: what it ended stays cut off."""
    found: list[Attempt] = []
    for line in (read_text(state_dir / _FILE) or "").splitlines():
        with contextlib.suppress(ValueError, LookupError, TypeError):
            note = json.loads(line)
            if note["event"] == "begun":
                found.append(Attempt(note["token"], note["at"], note["what"], _steps(note), known=False, how=_CUT_OFF))
            elif found:
                steps = _steps(note) if note["known"] else found[-1].steps
                found[-1] = replace(found[-1], steps=steps, known=note["known"], how=note["how"])
    return found


def last_failed(state_dir: Path) -> Attempt | None:
    """Return the last attempt, unless it ended well or there was none."""
    last = next(reversed(attempts(state_dir)), None)
    return last if last and last.how is not None else None


def changes(state_dir: Path) -> list[dict[str, typing.Any]]:
    """Return what each attempt did under which lease, or may have done, the oldest first, as plain data."""
    return [{"token": one.token, "known": one.known, **asdict(one.steps)} for one in attempts(state_dir)]


def _steps(note: dict[str, typing.Any]) -> Steps:
    return Steps(note["applied"], note["contract"], note["undone"])


def _append(state_dir: Path, note: dict[str, typing.Any]) -> None:
    append_line(state_dir / _FILE, json.dumps(note, sort_keys=True))
