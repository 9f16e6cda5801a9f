# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What the columns of a table will hold once the migrations are applied, said in terms of the target as it is now.

A condition of the new schema uses the new names and types. So it is asked of a subquery that offers each column under its new name, cast
to its new type, and for a column that is yet to come what the older rows will have there.
"""

from __future__ import annotations

import re
import typing
from dataclasses import dataclass

from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck import quoted

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_catalog import Facts
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_change import Compared
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck_parts import Parts
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_recorder import Event

__all__ = ["NotKnown", "Values"]

# Where any of these is written, what a column is made of may be written elsewhere than in the statement.
_CODE = re.compile(r"\b(DO|EXECUTE|CALL|PERFORM)\b", re.IGNORECASE)
_USING, _RETYPED = re.compile(r"\bUSING\b", re.IGNORECASE), re.compile(r"\bTYPE\b", re.IGNORECASE)
_TYPE = r"(?:[a-z_][a-z0-9_]*|\"[^\"]+\")(?:[. ][a-z_\"]+)*(?:\(\s*\d+\s*(?:,\s*\d+\s*)?\))?(?: (?:with|without) time zone)?(?:\[\])*\s*"
_NAME = r"(?:\"(?:[^\"]|\"\")+\"|[a-z_][a-z0-9_$]*)"
_CAST = re.compile(
    rf"\bUSING\s+\(?\s*(?P<name>{_NAME})\s*\)?\s*(?P<casts>(?:::\s*{_TYPE})+)\s*(?=[,;]|$)", re.IGNORECASE
)


class NotKnown(Exception):  # noqa: N818 - an answer, not an error
    """What a column will hold cannot be said; the text says why."""


@dataclass(frozen=True)
class Values:
    """The tables of before as they will be after the migrations, as far as that is known from the schema and the statements."""

    compared: Compared
    parts: Parts
    events: typing.Sequence[Event]

    def source(self, relation: str, *, parts_too: bool) -> str:
        """Return a table that was there before, as it is called in the target, without the tables that inherit from it or with them."""
        before = self.compared.before["relation"][relation]
        return ("" if parts_too or before["kind"] == "p" else "ONLY ") + str(before["name"])

    def rows(self, relation: str, columns: typing.Iterable[str], *, parts_too: bool, alias: str = "") -> str:
        """Return a subquery with the rows of a table that was there before.

        Args:
            relation: key of the table.
            columns: keys of the columns that are needed.
            parts_too: whether the rows of tables that inherit from it count as well.
            alias: what it is called, by default as the table, which an expression may name for a row as a whole.

        Raises:
            NotKnown: one of the columns.
        """
        bare = str(self.compared.after["relation"][relation]["name"]).rpartition(".")[2]
        name = alias or (bare if bare.isidentifier() else "each_row")
        offered = [f"{self.value(key)} AS {quoted(self.compared.after['column'][key]['column'])}" for key in columns]
        return f"(SELECT {', '.join(offered)} FROM {self.source(relation, parts_too=parts_too)}) AS {name}"  # noqa: S608 - from the catalog

    def value(self, key: str) -> str:
        """Return what a column will hold, as an expression over its table as it is now.

        Raises:
            NotKnown: the migrations compute it in a way that the schema does not show.
        """
        now, was = self.compared.after["column"][key], self.compared.before["column"].get(key)
        if was is None:
            return self._new(key, now)
        if now["generated"] and (not was["generated"] or was["default"] != now["default"]):
            raise NotKnown(f"{now['name']} is computed anew")
        if was["type"] == now["type"]:
            return quoted(was["column"])
        return f"{self.cast(key)}::{now['type']}"

    def cast(self, key: str) -> str:
        """Return what becomes a value of the new type of a column: the column, or the casts of it that its USING says.

        Raises:
            NotKnown: it is made in another way.
        """
        was, casts = self.compared.before["column"][key], None
        for query in (event.query for event in self.events if event.tag == "ALTER TABLE" and event.kind == "ddl"
                      and self._about(event, was["relation"])):  # fmt: skip # one condition
            found = self._casts(query, key)
            if found is None:
                raise NotKnown(f"{was['name']} is made anew with USING, or by code")
            if self._named(_CAST.sub("", query), key) and _RETYPED.search(query):
                casts = found or casts or ""
        if casts is None:
            raise NotKnown(f"the statement that gives {was['name']} another type was not seen")
        return f"({quoted(was['column'])}{casts})" if casts else quoted(was["column"])

    def _casts(self, query: str, key: str) -> str | None:
        """Return the casts of a column that a statement makes, None when it may make something else of it."""
        rest = _CAST.sub("", query)
        if _CODE.search(rest) or (_USING.search(rest) and self._named(rest, key)):
            return None
        own = [found["casts"].strip() for found in _CAST.finditer(query) if self._named(found["name"], key)]
        return own[-1] if own else ""

    def written_anew(self, relation: str) -> bool:
        """Return whether a table is written anew as a whole, as for a default that is another one for each row."""
        return any(self._about(event, relation) for event in self.events if event.kind == "rewrite")

    def _new(self, key: str, now: Facts) -> str:
        relation, unknown = now["relation"], NotKnown(f"the migrations make {now['name']}, and what is in it")
        if now["generated"] or now["always"] or self.compared.after["relation"][relation]["kind"] != "r":
            raise unknown
        if key in self.parts.missing:
            value = self.parts.missing[key]
            if value is None:
                raise unknown
            literal = value.replace("'", "''").replace("\\", "\\\\")
            return f"(E'{literal}'::{now['type']}[])[1]"
        if self.written_anew(relation):
            raise unknown
        return f"NULL::{now['type']}"

    @staticmethod
    def _about(event: Event, relation: str) -> bool:
        return any(one.get("relation") == relation for one in event.objects)

    def _named(self, text: str, key: str) -> bool:
        names = [catalog["column"][key]["column"] for catalog in (self.compared.before, self.compared.after)]
        bare = "|".join(map(re.escape, names))
        return any(quoted(name) in text for name in names) or bool(
            re.search(rf"(?<![\w\"])(?:{bare})(?![\w\"])", text, re.IGNORECASE)
        )
