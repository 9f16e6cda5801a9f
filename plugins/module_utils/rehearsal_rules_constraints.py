# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What changes of constraints and indexes mean to a version of the app that knows the tables as they were."""

from __future__ import annotations

import typing

from ansible_collections.baton.release.plugins.module_utils.rehearsal_change import (
    CONTRACT,
    EXPAND,
    REVIEW,
    Change,
    Compared,
)

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_catalog import Catalog, Facts

__all__ = ["constraint_changes", "index_changes"]

_OF_ITS_OWN = ("nextval(", "gen_random_uuid()", "uuidv4()", "uuidv7()")
_NAMED = ("p", "u", "x")  # INSERT ... ON CONFLICT ON CONSTRAINT names one of these


def constraint_changes(compared: Compared) -> list[Change]:
    """Return what happened to the constraints of the tables that are still there."""
    found: list[Change] = []
    new = {key: one for key, one in compared.new("constraint").items() if compared.was_there(one["relation"])}
    for one in compared.gone("constraint").values():
        if not compared.was_there(one["relation"]):
            continue
        same = [
            key
            for key, other in new.items()
            if all(other[fact] == one[fact] for fact in ("name", "relation", "definition", "type"))
        ]
        for key in same:
            del new[key]
        retyped = any(_type(compared.before, key) != _type(compared.after, key) for key in one["columns"])
        if same and not retyped:  # another type of a column makes its constraints anew, at the same instant
            found.append(_change(REVIEW, one, "was dropped and added again"))
        elif same:
            continue
        else:
            found.append(
                _change(CONTRACT if one["type"] in _NAMED else REVIEW, one, f"was dropped ({one['definition']})")
            )
    found += [_added(compared, one) for one in new.values()]
    for _key, was, now in compared.kept("constraint"):
        found += _kept(was, now)
    return found


def _type(catalog: Catalog, column: str) -> object:
    return catalog["column"].get(column, {}).get("type")


def _added(compared: Compared, now: Facts) -> Change:
    harmless = compared.all_new(now["columns"]) and _left_alone(compared, now)
    what = f"was added ({now['definition']})"
    return _change(EXPAND if harmless else CONTRACT, now, what)


def _left_alone(compared: Compared, now: Facts) -> bool:
    """Return whether rows of a version that does not know the columns of a constraint pass it."""
    if now["type"] == "c":
        return compared.passes(now)
    columns = [compared.after["column"][key] for key in now["columns"]]
    if now["type"] == "p":
        return any(_numbered(one) for one in columns)
    if now["type"] == "u":
        return _never_equal(columns, now["definition"])
    return any(_stays_null(one) for one in columns)


def _stays_null(column: Facts) -> bool:
    return column["default"] is None and not column["always"] and not column["generated"]


def _numbered(column: Facts) -> bool:
    """Return whether each row gets a value of its own."""
    return bool(column["always"]) or str(column["default"] or "").startswith(_OF_ITS_OWN)


def _never_equal(columns: list[Facts], definition: str) -> bool:
    if any(_numbered(one) for one in columns):
        return True
    return "NULLS NOT DISTINCT" not in definition and any(_stays_null(one) for one in columns)


def _kept(was: Facts, now: Facts) -> list[Change]:
    found = []
    if was["constraint"] != now["constraint"]:
        found.append(_change(CONTRACT if was["type"] in _NAMED else REVIEW, was, f"was renamed to {now['constraint']}"))
    if was["validated"] != now["validated"]:
        found.append(_change(EXPAND, was, "holds for every row now, as was validated"))
    plain_was, plain_now = (one["definition"].replace(" NOT VALID", "") for one in (was, now))
    if plain_was != plain_now and was["columns"] == now["columns"]:
        enforced = "NOT ENFORCED" in plain_was and "NOT ENFORCED" not in plain_now
        found.append(_change(CONTRACT if enforced else REVIEW, was, f"is now {now['definition']}"))
    return found


def _change(level: str, one: Facts, what: str) -> Change:
    return Change(level, "constraint", one["name"], what, one["relation"])


def index_changes(compared: Compared) -> list[Change]:
    """Return what happened to the indexes of the tables that are still there, without those of constraints."""
    found: list[Change] = []
    constraints = {facts["name"].rpartition(".")[2] for facts in compared.new("constraint").values()}
    for one in compared.gone("index").values():
        became = one["name"].rpartition(".")[2] in constraints
        if compared.was_there(one["relation"]) and not became:
            found.append(_index(CONTRACT if one["unique"] else REVIEW, one, f"was dropped ({one['definition']})"))
    found += [
        _index(_level(compared, one), one, f"was added ({one['definition']})")
        for one in compared.new("index").values()
        if compared.was_there(one["relation"])
    ]
    for _key, was, now in compared.kept("index"):
        if was["name"] != now["name"]:
            found.append(_index(REVIEW, was, f"was renamed to {now['name']}"))
        if was["valid"] and not now["valid"]:
            found.append(_index(REVIEW, was, "is no longer valid"))
    return found


def _level(compared: Compared, one: Facts) -> str:
    if one["unique"]:
        if one["computed"] or not compared.all_new(one["columns"]):
            return CONTRACT
        columns = [compared.after["column"][key] for key in one["columns"]]
        return EXPAND if _never_equal(columns, one["definition"]) else CONTRACT
    # An expression is computed for each row that is written, and may fail there.
    return REVIEW if one["computed"] or not one["valid"] else EXPAND


def _index(level: str, one: Facts, what: str) -> Change:
    return Change(level, "index", one["name"], what, one["relation"])
