# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A question about the rows of the target: whether one of them stands in the way of a change that the shadow, without rows, let pass."""

from __future__ import annotations

import typing
from dataclasses import asdict, dataclass

__all__ = ["COUNTED", "MOST", "Precheck", "counted", "listed", "quoted"]

MOST = 1000
"""Rows beyond these are not counted."""

COUNTED: dict[str, str] = {
    "not-null": "rows are NULL there",
    "unique": "values are in more than one row",
    "foreign-key": "rows refer to no row",
    "check": "rows fail it",
    "type": "rows do not fit",
}
"""For each kind that is asked about, what the number counts. There are others that are only named, as nothing is asked."""


@dataclass(frozen=True)
class Precheck:
    """One question, as it is kept: about nothing but the schema, so that it is the same whatever the rows are."""

    kind: str
    name: str
    """Of the column, constraint or index."""
    table: str
    """As it is called in the target."""
    what: str
    """What is asked of the rows, as the end of a sentence that begins with ``name``."""
    sql: str = ""
    """Counts the rows that are in the way, up to one more than ``MOST``. A cast counts none, and fails at the first one that is."""
    lacks: str = ""
    """Why nothing can be asked."""
    doubt: str = ""
    """Why rows in the way decide nothing: the migrations themselves may mend them."""
    touched: bool = False
    """Whether they may also spoil them, so that it decides nothing either when there are none."""
    relation: str = ""
    key: str = ""
    """Keys of the table and the column, to find the migration that changes it."""

    def as_kept(self) -> dict[str, typing.Any]:
        """Return it without the keys, which mean nothing outside of the shadow."""
        return {name: value for name, value in asdict(self).items() if name not in ("relation", "key")}


def quoted(name: str) -> str:
    """Return a name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def counted(source: str, condition: str) -> str:
    """Return the query that counts the rows of ``source`` for which ``condition`` is true."""
    return f"SELECT count(*) FROM (SELECT 1 FROM {source} WHERE {condition} LIMIT {MOST + 1}) AS found"  # noqa: S608 - from the catalog


def listed(one: typing.Mapping[str, typing.Any]) -> str:
    """Return the answer to one question as the end of a sentence."""
    if one["outcome"] == "unchecked":
        return f"not checked: {one['why']}"
    if one["outcome"] == "passes":
        return "no row is in the way"
    rows = f"more than {MOST}" if one["more"] else one["rows"]
    number = one["why"] if one["rows"] is None else f"{rows} {COUNTED[one['kind']]}"
    return f"{number}; not decided, {one['doubt']}" if one["outcome"] == "undecided" else number
