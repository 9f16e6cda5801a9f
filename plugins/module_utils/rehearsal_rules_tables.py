# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What changes of tables, views and their columns mean to a version of the app that knows them as they were."""

from __future__ import annotations

import re
import typing
from dataclasses import replace

from ansible_collections.baton.release.plugins.module_utils.rehearsal_change import (
    CONTRACT,
    EXPAND,
    REVIEW,
    Change,
    Compared,
)

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_catalog import Facts

__all__ = ["column_changes", "relation_changes", "rights_changes", "widened"]

_NAMES = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table", "c": "type"}
_VIEWS = ("v", "m")
_TABLES = ("r", "p", "f")
_SIZED = re.compile(r"(character varying|bit varying|numeric)(?:\((\d+)(?:,(\d+))?\))?")
_WHOLE = ("smallint", "integer", "bigint")
_UNLIMITED = 1 << 30


def relation_changes(compared: Compared) -> list[Change]:
    """Return what happened to tables, views and composite types."""
    found = [_gone(compared, key, facts) for key, facts in compared.gone("relation").items()]
    found += [_new(compared, key, facts) for key, facts in compared.new("relation").items()]
    for key, was, now in compared.kept("relation"):
        found += _kept(compared, key, was, now)
    return found


def _gone(compared: Compared, key: str, was: Facts) -> Change:
    kind = _NAMES[was["kind"]]
    again = next((name for name, one in compared.new("relation").items() if one["name"] == was["name"]), None)
    if again is None:
        return Change(CONTRACT, kind, was["name"], "was dropped", key)
    if was["kind"] in _VIEWS and _offers(compared, again, key) and _rights_kept(was, compared.after["relation"][again]):
        return Change(REVIEW, kind, was["name"], "was made anew with the same columns", key)
    return Change(CONTRACT, kind, was["name"], "was dropped and made anew, without what was in it", key)


def _new(compared: Compared, key: str, now: Facts) -> Change:
    kind, bare = _NAMES[now["kind"]], now["name"].rpartition(".")[2]
    namesake = next(
        (one["name"] for one in compared.before["relation"].values() if one["name"].rpartition(".")[2] == bare), None
    )
    if namesake is not None and namesake != now["name"]:
        return Change(REVIEW, kind, now["name"], f"was added, which may hide {namesake} on a search_path", key)
    return Change(EXPAND, kind, now["name"], "was added", key)


def _offers(compared: Compared, now: str, was: str) -> bool:
    """Return whether the relation ``now`` has all columns that ``was`` had, with the same types."""
    old = {one["column"]: one["type"] for one in compared.before["column"].values() if one["relation"] == was}
    new = {one["column"]: one["type"] for one in compared.after["column"].values() if one["relation"] == now}
    return all(new.get(name) == kind for name, kind in old.items())


def _rights_kept(was: Facts, now: Facts) -> bool:
    return set(was["rights"]) <= set(now["rights"]) and bool(was["owner"] == now["owner"])


def _kept(compared: Compared, key: str, was: Facts, now: Facts) -> list[Change]:
    kind, name = _NAMES[was["kind"]], was["name"]
    found = rights_changes(kind, was, now, key)

    def add(level: str, what: str) -> None:
        found.append(Change(level, kind, name, what, key))

    if now["name"] != name:
        add(*_renamed(compared, key, was, now))
    if was["definition"] != now["definition"]:
        add(REVIEW, "has another definition")
    for fact, level, what in (
        ("persistence", REVIEW, "is logged in another way"),
        ("method", REVIEW, "is stored in another way"),
        ("identity", REVIEW, "has another replica identity"),
        ("bound", REVIEW, "has another bound as a partition"),
    ):
        if was[fact] != now[fact]:
            add(level, what)
    if was["options"] != now["options"]:
        add(CONTRACT if was["kind"] in _VIEWS else EXPAND, f"has other options: {', '.join(now['options']) or 'none'}")
    for parent in sorted(set(was["parents"]) - set(now["parents"])):
        add(CONTRACT, f"is no longer a part of {parent}")
    for parent in sorted(set(now["parents"]) - set(was["parents"])):
        add(REVIEW, f"is now a part of {parent}")
    return found + _guarded(kind, key, was, now)


def _renamed(compared: Compared, key: str, was: Facts, now: Facts) -> tuple[str, str]:
    """Return what a new name means: little, when a view with the old one offers the same to the same users."""
    for one, facts in compared.new("relation").items():
        same = facts["name"] == was["name"] and facts["kind"] == "v"
        if same and _offers(compared, one, key) and _rights_kept(was, facts):
            return REVIEW, f"was renamed to {now['name']}, with a view of the same columns in its place"
    return CONTRACT, f"was renamed to {now['name']}"


def _guarded(kind: str, key: str, was: Facts, now: Facts) -> list[Change]:
    if (now["rls"] and not was["rls"]) or (now["rls_forced"] and not was["rls_forced"]):
        what = "shows only the rows that policies allow (row level security)"
        return [Change(CONTRACT, kind, was["name"], what, key)]
    if was["rls"] != now["rls"] or was["rls_forced"] != now["rls_forced"]:
        return [Change(REVIEW, kind, was["name"], "has row level security no longer", key)]
    return []


def rights_changes(kind: str, was: Facts, now: Facts, relation: str = "") -> list[Change]:
    """Return what happened to the owner of an object, and to what others may do with it."""
    found = []
    if was.get("owner") != now.get("owner"):
        what = f"belongs to {now['owner']} and no longer to {was['owner']}"
        return [Change(CONTRACT, kind, was["name"], what, relation)]
    lost, gained = (sorted(set(one["rights"]) - set(other["rights"])) for one, other in ((was, now), (now, was)))
    if lost:
        found.append(Change(CONTRACT, kind, was["name"], f"may no longer be used by {', '.join(lost)}", relation))
    if gained:
        found.append(Change(REVIEW, kind, was["name"], f"may now be used by {', '.join(gained)}", relation))
    return found


def column_changes(compared: Compared) -> list[Change]:
    """Return what happened to the columns of the tables and views that are still there."""
    found: list[Change] = []
    added = {facts["name"] for facts in compared.new("column").values()}
    gone = {facts["name"] for facts in compared.gone("column").values()}
    for key, facts in compared.gone("column").items():
        if compared.was_there(facts["relation"]):
            what = "was dropped and added again, without what was in it" if facts["name"] in added else "was dropped"
            found.append(Change(CONTRACT, "column", facts["name"], what, facts["relation"], key))
    for key, facts in compared.new("column").items():
        if compared.was_there(facts["relation"]) and facts["name"] not in gone:
            found.append(_added(compared, key, facts))
    for key, was, now in compared.kept("column"):
        found += [replace(one, key=key) for one in _column(was, now)]
    return found


def _added(compared: Compared, key: str, now: Facts) -> Change:
    level, what = EXPAND, "was added"
    if now["kind"] == "c":
        level, what = CONTRACT, "was added, and values of the type have one part more"
    elif now["kind"] not in _TABLES:
        level, what = REVIEW, "was added to a view"
    elif _required(now):
        level, what = CONTRACT, "was added as NOT NULL without a default"
    elif now["type_notnull"]:
        level, what = CONTRACT, f"was added with the type {now['type']}, which refuses some values"
    elif _locked_out(compared, key, now):
        level, what = (
            CONTRACT,
            f"was added with a sequence that {', '.join(_locked_out(compared, key, now))} may not use",
        )
    elif _namesakes(compared, now):
        namesakes = " or ".join(_namesakes(compared, now))
        level, what = REVIEW, f"was added, and a join that names no table may mean {namesakes}"
    return Change(level, "column", now["name"], what, now["relation"], key)


def _required(facts: Facts) -> bool:
    return bool(facts["notnull"] and facts["default"] is None and not facts["always"] and not facts["generated"])


def _locked_out(compared: Compared, key: str, now: Facts) -> list[str]:
    """Return who may add rows and may not take a number for the new column from its sequence; an identity asks nobody."""
    if now["always"] or not str(now["default"] or "").startswith("nextval("):
        return []
    sequences = [one for one in compared.after["sequence"].values() if one["of"] == key]
    may = {right.rpartition(":")[0] for one in sequences for right in one["rights"] if not right.endswith(":SELECT")}
    rights = compared.after["relation"][now["relation"]]["rights"]
    if "PUBLIC" in may:
        return []
    return sorted({right.rpartition(":")[0] for right in rights if right.endswith(":INSERT")} - may)


def _namesakes(compared: Compared, now: Facts) -> list[str]:
    """Return the columns of this name in tables that a foreign key joins with this one; views and functions are left out."""
    neighbours: set[str] = set()
    columns = compared.before["column"]
    names = {facts["name"]: key for key, facts in compared.before["relation"].items()}
    for one in compared.before["constraint"].values():
        target = re.search(r" REFERENCES ((?:\"[^\"]+\"|[^\s(])+)\(", one["definition"]) if one["type"] == "f" else None
        other = names.get(target[1]) if target else None
        if other and now["relation"] in (one["relation"], other):
            neighbours |= {one["relation"], other}
    neighbours.discard(now["relation"])
    return sorted(
        facts["name"]
        for facts in columns.values()
        if facts["relation"] in neighbours and facts["column"] == now["column"]
    )


def _column(was: Facts, now: Facts) -> list[Change]:
    found: list[Change] = []

    def add(level: str, what: str) -> None:
        found.append(Change(level, "column", was["name"], what, was["relation"]))

    if was["column"] != now["column"]:
        add(CONTRACT, f"was renamed to {now['column']}")
    if was["type"] != now["type"]:
        level = REVIEW if widened(was["type"], now["type"]) else CONTRACT
        add(level, f"has the type {now['type']} and no longer {was['type']}")
    elif was["collation"] != now["collation"]:
        add(CONTRACT, f"is compared by {now['collation']}")
    if now["notnull"] and not was["notnull"]:
        add(CONTRACT, "refuses NULL")
    elif was["notnull"] and not now["notnull"]:
        add(REVIEW, "may be NULL, which old readers may not expect")
    found += _filled(was, now)
    lost, gained = (sorted(set(one["rights"]) - set(other["rights"])) for one, other in ((was, now), (now, was)))
    if lost:
        add(CONTRACT, f"may no longer be used by {', '.join(lost)}")
    if gained:
        add(REVIEW, f"may now be used by {', '.join(gained)}")
    return found


def _filled(was: Facts, now: Facts) -> list[Change]:
    """Return what changed in how a column gets a value that nobody gives."""
    level, what = "", ""
    if now["always"] == "a" and was["always"] != "a":
        level, what = CONTRACT, "accepts no value of the app's own (GENERATED ALWAYS)"
    elif was["generated"] and not now["generated"]:
        level, what = REVIEW, "is no longer generated"
    elif _required(now) and not _required(was) and (was["default"] is not None or was["always"]):
        level, what = CONTRACT, "is NOT NULL and has no default any longer"
    elif was["default"] != now["default"] or was["always"] != now["always"]:
        level, what = (
            REVIEW,
            f"has another default: {now['default'] or 'a number of its own' if now['always'] else now['default'] or 'none'}",
        )
    return [Change(level, "column", was["name"], what, was["relation"])] if level else []


def widened(was: str, now: str) -> bool:
    """Return whether every value of the type ``was`` is one of ``now``, and looks the same to SQL."""
    if was in _WHOLE and now in _WHOLE:
        return _WHOLE.index(was) < _WHOLE.index(now)
    old, new = _SIZED.fullmatch(was), _SIZED.fullmatch(now)
    if old and now == "text":
        return old[1] == "character varying"
    if was == "text" and now == "character varying":
        return True
    if not old or not new or old[1] != new[1]:
        return False
    lengths = [int(one[2] or _UNLIMITED) for one in (old, new)]
    return lengths[0] <= lengths[1] and (new[2] is None or old[3] == new[3])
