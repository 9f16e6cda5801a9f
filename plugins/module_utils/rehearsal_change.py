# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A change of a schema and how much it means to a version of the app that knows the schema of before."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_catalog import Catalog, Facts

__all__ = ["CONTRACT", "EXPAND", "LEVELS", "REVIEW", "Change", "Compared", "worst"]

EXPAND, REVIEW, CONTRACT = "expand", "review", "contract"
LEVELS = (EXPAND, REVIEW, CONTRACT)
"""The previous version goes on as before; a person should look whether it does; it does not, or nobody can know."""


@dataclass(frozen=True)
class Change:
    """One change: its ``level``, what changed (``kind`` and ``name``), and what happened to it, as the end of a sentence."""

    level: str
    kind: str
    name: str
    what: str
    relation: str = ""
    """Key of the table that it belongs to."""
    key: str = ""
    """Its own key, for a column."""
    by_data: bool = False
    """Whether it was a change of rows."""

    def __str__(self) -> str:
        return f"{self.level}: {self.kind} {self.name} {self.what}"


@dataclass(frozen=True)
class Compared:
    """Two states of one database, in which each object has kept its key."""

    before: Catalog
    after: Catalog
    passes: typing.Callable[[Facts], bool] = field(default=lambda _constraint: False)
    """Whether a row that leaves every column out passes a check."""

    def gone(self, kind: str) -> dict[str, Facts]:
        """Return the objects that are no longer there."""
        return {key: facts for key, facts in self.before[kind].items() if key not in self.after[kind]}

    def new(self, kind: str) -> dict[str, Facts]:
        """Return the objects that were not there."""
        return {key: facts for key, facts in self.after[kind].items() if key not in self.before[kind]}

    def kept(self, kind: str) -> list[tuple[str, Facts, Facts]]:
        """Return the key of each object that is still there, with what it was and what it is."""
        both = self.before[kind].keys() & self.after[kind].keys()
        return [(key, self.before[kind][key], self.after[kind][key]) for key in sorted(both)]

    def was_there(self, relation: str) -> bool:
        """Return whether a table or view was there before, and still is."""
        return relation in self.before["relation"] and relation in self.after["relation"]

    def column(self, key: str) -> Facts | None:
        """Return a column as it is now."""
        return self.after["column"].get(key)

    def all_new(self, columns: typing.Sequence[str]) -> bool:
        """Return whether these are columns, and all of them are new."""
        return bool(columns) and all(
            key in self.after["column"] and key not in self.before["column"] for key in columns
        )


def worst(levels: typing.Iterable[str]) -> str:
    """Return the worst of some levels, ``expand`` for none."""
    return max(levels, key=LEVELS.index, default=EXPAND)
