# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Which changes of a schema succeed or fail by the rows that are there, and what is to be asked of them."""

from __future__ import annotations

import re
import typing
from dataclasses import dataclass
from functools import partial

from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck import MOST, Precheck, counted, quoted
from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck_doubts import Doubts
from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck_values import NotKnown, Values
from ansible_collections.baton.release.plugins.module_utils.rehearsal_rules_tables import widened

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_catalog import Facts
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_change import Compared
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck_parts import Parts
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_recorder import Event

__all__ = ["prechecks"]

_TABLES = ("r", "p")
_LIMITED = re.compile(r"(character varying|character|bit varying|bit)\((\d+)\)(\[\])*")
_ANYTHING = ("text", "character varying")


def prechecks(
    compared: Compared, parts: Parts, events: typing.Sequence[Event], read: typing.Collection[str]
) -> list[Precheck]:
    """Return what is to be asked of the target's rows before the migrations that made this difference.

    Args:
        compared: the schema of before and after.
        parts: the insides of what is there after them.
        events: what happened in between.
        read: names of the tables of which rows were looked for.
    """
    asked = _Asked(compared, parts, Values(compared, parts, events), Doubts(compared, parts, events, read))
    return [*asked.columns(), *asked.unique(), *asked.constraints(), *asked.others()]


@dataclass(frozen=True)
class _Asked:
    compared: Compared
    parts: Parts
    values: Values
    doubts: Doubts

    def columns(self) -> typing.Iterator[Precheck]:
        """Yield the questions about columns that become NOT NULL or get another type."""
        for key, now in self.compared.after["column"].items():
            was = self.compared.before["column"].get(key)
            if not self._table(now["relation"]):
                continue
            if was is not None and was["type"] != now["type"] and not self._told_of_parent(now, "type"):
                yield from self._type(key, was, now)
            refuses = now["notnull"] and now["proven"] and not (was and was["notnull"] and was["proven"])
            if refuses and not self._told_of_parent(now, "notnull") and not (was is None and self._filled(key, now)):
                name = was["name"] if was else now["name"]
                what = "is to refuse NULL" if was else "is to be added, and to refuse NULL"
                yield self._made("not-null", name, now["relation"], what, partial(self._nulls, key, now), key=key)

    def _nulls(self, key: str, now: Facts) -> str:
        # For a value of several parts IS NULL asks about the parts.
        return counted(
            self.values.rows(now["relation"], [key], parts_too=False),
            f"{quoted(now['column'])} IS NOT DISTINCT FROM NULL",
        )

    def _filled(self, key: str, now: Facts) -> bool:
        """Return whether a new column has a value in every row from the start."""
        whole = (
            self.values.written_anew(now["relation"]) or self.compared.after["relation"][now["relation"]]["kind"] == "p"
        )
        return key in self.parts.missing or bool(now["always"]) or (now["default"] is not None and whole)

    def _type(self, key: str, was: Facts, now: Facts) -> typing.Iterator[Precheck]:
        if widened(was["type"], now["type"]) or now["type"] in _ANYTHING:
            return
        what = f"is to become {now['type']} and no longer {was['type']}"
        yield self._made("type", was["name"], now["relation"], what, partial(self._unfit, key, now), key=key)

    def _unfit(self, key: str, now: Facts) -> str:
        """Return the question whether a value is too long, which a cast cuts off and the change of a type refuses, or cannot be cast."""
        source, limit = self.values.source(now["relation"], parts_too=False), _LIMITED.fullmatch(now["type"])
        if limit is None:
            return f"SELECT 0 * count({self.values.value(key)}) FROM {source}"  # noqa: S608 - from the catalog
        if limit[3]:
            raise NotKnown("whether each part of an array fits is not asked")
        value, length = self.values.cast(key), int(limit[2])
        if limit[1].startswith("character"):
            # Blanks beyond the length are cut off without a word.
            return counted(source, f"rtrim(substr({value}::text, {length + 1}), ' ') <> ''")
        sign = ">" if limit[1] == "bit varying" else "<>"
        return counted(source, f"length({value}::bit varying) {sign} {length}")

    def unique(self) -> typing.Iterator[Precheck]:
        """Yield the questions about values that are to be unique, and name what excludes others in ways that nobody asks about."""
        before = self.compared.before
        known = {key for key, facts in before["index"].items() if facts["unique"] and facts["valid"]}
        for key, facts in self.parts.indexes.items():
            constraint = facts["constraint"] or ""
            kept = key in known or constraint in before["constraint"]
            if kept or not facts["valid"] or not self._table(facts["relation"]):
                continue
            named = self.compared.after["constraint"].get(constraint)
            name = named["name"] if named else facts["name"]
            if self._held("constraint" if named else "index", named or facts, facts["columns"], [facts["relation"]]):
                continue
            what = f"is to hold ({(named or facts)['definition']})"
            if facts["overlaps"]:
                lacks = "whether rows exclude each other is not asked"
                yield self._only_named("exclusion", name, facts["relation"], what, lacks)
                continue
            yield self._made("unique", name, facts["relation"], what, partial(self._doubled, facts), owner=key)

    def _held(self, kind: str, now: Facts, columns: typing.Iterable[str], tables: typing.Iterable[str]) -> bool:
        """Return whether the same held before, of values that are still the same: a wider type makes its indexes anew, too."""
        same = (
            all(was[fact] == now[fact] for fact in ("name", "relation", "definition"))
            and was.get("validated", True)
            and was.get("valid", True)
            for was in self.compared.before[kind].values()
        )
        return any(same) and all(map(self._still, columns)) and not self.doubts.of(*tables)

    def _still(self, column: str) -> bool:
        was, now = (catalog["column"].get(column) for catalog in (self.compared.before, self.compared.after))
        return bool(was and now and (was["type"] == now["type"] or widened(was["type"], now["type"])))

    def _doubled(self, facts: Facts) -> str:
        if facts["own_operators"]:
            raise NotKnown("it compares in a way of its own")
        rows = self.values.rows(facts["relation"], facts["columns"], parts_too=False)
        names = [f"key_{place}" for place in range(1, len(facts["keys"]) + 1)]
        keys = ", ".join(f"({expression}) AS {name}" for expression, name in zip(facts["keys"], names))
        where = f" WHERE {facts['where']}" if facts["where"] else ""
        # OFFSET 0 has the server compute a key only for rows that the index is to hold: for others it may fail.
        source = f"(SELECT {keys} FROM {rows}{where} OFFSET 0) AS keyed"  # noqa: S608 - from the catalog
        nulls = " AND ".join(f"{name} IS DISTINCT FROM NULL" for name in names)
        some = "" if facts["nulls_equal"] else f" WHERE {nulls}"
        grouped = f"SELECT 1 FROM {source}{some} GROUP BY {', '.join(names)} HAVING count(*) > 1 LIMIT {MOST + 1}"  # noqa: S608 - as above
        return f"SELECT count(*) FROM ({grouped}) AS found"  # noqa: S608 - as above

    def constraints(self) -> typing.Iterator[Precheck]:
        """Yield the questions about checks and foreign keys that are to hold for every row."""
        for key, now in self.compared.after["constraint"].items():
            was = self.compared.before["constraint"].get(key)
            if key not in self.parts.constraints or not self._table(now["relation"]):
                continue
            if not now["validated"] or (was is not None and was["validated"]):
                continue
            facts, what = self.parts.constraints[key], f"is to hold ({now['definition']})"
            both = [now["relation"], *([facts["target"]] if self._table(facts["target"]) else [])]
            if self._held("constraint", now, [*facts["columns"], *facts["targets"]], both):
                continue
            if now["type"] == "c":
                failing = partial(self._failing, now, facts)
                yield self._made("check", now["name"], now["relation"], what, failing, owner=key)
            elif facts["overlaps"]:
                lacks = "whether periods are covered is not asked"
                yield self._only_named("foreign-key", now["name"], now["relation"], what, lacks)
            else:
                target, orphans = facts["target"], partial(self._orphans, now, facts)
                doubt = "" if self._table(target) else f"as the migrations make {self._name(target)} and may fill it"
                yield self._made(
                    "foreign-key", now["name"], now["relation"], what, orphans, doubt=doubt, besides=[target]
                )

    def _failing(self, now: Facts, facts: Facts) -> str:
        rows = self.values.rows(now["relation"], facts["columns"], parts_too=not facts["alone"])
        return counted(rows, f"NOT ({now['expression']})")

    def _orphans(self, now: Facts, facts: Facts) -> str:
        own, theirs = (
            [quoted(self.compared.after["column"][key]["column"]) for key in facts[which]]
            for which in ("columns", "targets")
        )
        rows = self.values.rows(now["relation"], facts["columns"], parts_too=False, alias="referring")
        refers = (" OR " if facts["full"] else " AND ").join(f"referring.{name} IS DISTINCT FROM NULL" for name in own)
        if not self._table(facts["target"]):
            return counted(rows, f"({refers})")
        met = " AND ".join(
            f"referred.{other} {operator} referring.{name}"
            for name, other, operator in zip(own, theirs, facts["operators"])
        )
        referred = self.values.rows(facts["target"], facts["targets"], parts_too=False, alias="referred")
        return counted(rows, f"({refers}) AND NOT EXISTS (SELECT 1 FROM {referred} WHERE {met})")  # noqa: S608 - from the catalog

    def others(self) -> typing.Iterator[Precheck]:
        """Name what also depends on rows and is not asked about: bounds of partitions, and what domains refuse."""
        for key, was, now in self.compared.kept("relation"):
            if now["bound"] and was["bound"] != now["bound"]:
                what, lacks = "is to be a partition", "whether its rows belong there is not asked"
                yield self._only_named("partition", was["name"], key, what, lacks)
        for now in self.compared.new("relation").values():
            for parent in now["parents"] if now["bound"] else ():
                yield from self._default_partition(parent)
        for key, was, now in self.compared.kept("type"):
            if (now["notnull"] and not was["notnull"]) or now["checks"].keys() - was["checks"].keys():
                what, lacks = "is to refuse more values", "the columns of a domain are not asked about"
                yield Precheck("domain", was["name"], "", what, lacks=lacks, relation="", key=key)

    def _default_partition(self, parent: str) -> typing.Iterator[Precheck]:
        for key, was, now in self.compared.kept("relation"):
            if parent in now["parents"] and now["bound"] == "DEFAULT" and was["bound"] == "DEFAULT":
                what, lacks = (
                    "is the default partition beside a new one",
                    "whether rows belong to that one is not asked",
                )
                yield self._only_named("partition", was["name"], key, what, lacks)

    def _made(
        self,
        kind: str,
        name: str,
        relation: str,
        what: str,
        query: typing.Callable[[], str],
        *,
        key: str = "",
        owner: str = "",
        doubt: str = "",
        besides: typing.Iterable[str] = (),
    ) -> Precheck:
        table = self._name(relation)
        try:
            sql, lacks = query(), ""
        except NotKnown as unknown:
            sql, lacks = "", str(unknown)
        there = [one for one in (relation, *besides) if self._table(one)]
        touched = self.doubts.of(*there) or self.doubts.of_functions(owner)
        return Precheck(kind, name, table, what, sql, lacks, touched or doubt, bool(touched), relation, key)

    def _only_named(self, kind: str, name: str, relation: str, what: str, lacks: str) -> Precheck:
        return Precheck(kind, name, self._name(relation), what, lacks=lacks, relation=relation)

    def _name(self, relation: str) -> str:
        catalog = self.compared.before if relation in self.compared.before["relation"] else self.compared.after
        return str(catalog["relation"][relation]["name"])

    def _table(self, relation: str) -> bool:
        """Return whether this is a table that was there before: in one that is made now nothing is known of its rows."""
        return self.compared.was_there(relation) and self.compared.after["relation"][relation]["kind"] in _TABLES

    def _told_of_parent(self, now: Facts, fact: str) -> bool:
        """Return whether the same happens to the column of the table that this one is a partition of, which covers it."""
        relation = self.compared.after["relation"][now["relation"]]
        if not relation["bound"]:
            return False
        for key, other in self.compared.after["column"].items():
            if self.compared.after["relation"][other["relation"]]["name"] not in relation["parents"]:
                continue
            was = self.compared.before["column"].get(key)
            if other["column"] == now["column"]:
                return self._table(other["relation"]) and (was is None or was[fact] != other[fact])
        return False
