# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What this host remembers of its last attempt to migrate, so that the next one can say what became of it.

It decides nothing: where the schema is, the database says.
"""

from __future__ import annotations

import time
import typing
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.files import read_json, write_json

__all__ = ["Attempt", "begin", "end", "last_failed"]

_FILE = "migration.json"


@dataclass(frozen=True)
class Attempt:
    """An attempt that did not end well: ``what`` it was to do, ``at`` which time (seconds since 1970), and ``how`` it ended."""

    what: str
    at: float
    how: str

    def __str__(self) -> str:
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.at))
        return f"the attempt of {when} to {self.what} {self.how}"


def begin(state_dir: Path, what: str) -> None:
    """Note that an attempt to do ``what`` begins."""
    write_json(state_dir / _FILE, {"what": what, "at": time.time(), "how": ""})


def end(state_dir: Path, how: str | None) -> None:
    """Note ``how`` the attempt ended, None for well."""
    note = read_json(state_dir / _FILE) or {}
    write_json(state_dir / _FILE, {**note, "how": how})


def last_failed(state_dir: Path) -> Attempt | None:
    """Return the last attempt, unless it ended well or there was none."""
    note: dict[str, typing.Any] = read_json(state_dir / _FILE) or {}
    how = note.get("how")
    if how is None or "what" not in note:
        return None
    cut_off = "was cut off: this module or its host was ended in the middle of it"
    return Attempt(str(note["what"]), float(note.get("at", 0)), how or cut_off)
