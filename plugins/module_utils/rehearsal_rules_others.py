# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What changes of all other objects, and of data, mean to a version of the app that knows them as they were."""

from __future__ import annotations

import typing

from ansible_collections.baton.release.plugins.module_utils.rehearsal_change import (
    CONTRACT,
    EXPAND,
    REVIEW,
    Change,
    Compared,
)
from ansible_collections.baton.release.plugins.module_utils.rehearsal_rules_tables import rights_changes

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_catalog import Facts
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_recorder import Event

__all__ = ["event_changes", "other_changes"]

# For each kind: what it means when one is added, dropped, or is another one than before.
_PLAIN = {
    "schema": (EXPAND, CONTRACT, CONTRACT),
    "trigger": (REVIEW, REVIEW, REVIEW),
    "policy": (REVIEW, CONTRACT, CONTRACT),
    "rule": (CONTRACT, REVIEW, CONTRACT),
    "function": (EXPAND, CONTRACT, REVIEW),
    "type": (EXPAND, CONTRACT, REVIEW),
    "sequence": (EXPAND, CONTRACT, REVIEW),
    "extension": (EXPAND, CONTRACT, REVIEW),
    "event trigger": (REVIEW, REVIEW, REVIEW),
    "setting": (CONTRACT, CONTRACT, CONTRACT),
}
_SEEN = {"name", "rights", "owner", "relation", "labels", "bare", "of"}
# What the snapshots see, so that an event says nothing more.
_IN_SNAPSHOTS = frozenset(
    (
        *("table", "table column", "table constraint", "default value", "not-null constraint", "toast table", "index"),
        *(
            "view",
            "view column",
            "materialized view",
            "materialized view column",
            "foreign table",
            "foreign table column",
        ),
        *("composite type", "composite type attribute", "type", "domain", "domain constraint", "sequence", "schema"),
        *("function", "procedure", "aggregate", "trigger", "policy", "rule", "extension", "event trigger"),
    )
)
_MEANINGLESS = (
    "COMMENT",
    "SECURITY LABEL",
    "GRANT",
    "REVOKE",
    "REFRESH MATERIALIZED VIEW",
    "REINDEX",
    "CREATE STATISTICS",
)
_MEANINGLESS_TOO = ("ALTER STATISTICS", "DROP STATISTICS", "ALTER DEFAULT PRIVILEGES")
_VERBS = {
    "INSERT": (REVIEW, "got rows (INSERT)"),
    "UPDATE": (REVIEW, "had rows changed (UPDATE)"),
    "DELETE": (REVIEW, "had rows deleted (DELETE)"),
    "UNSEEN": (REVIEW, "had its triggers disabled, so that nobody knows what happened to its rows"),
    "TRUNCATE": (CONTRACT, "was emptied (TRUNCATE)"),
}


def other_changes(compared: Compared) -> list[Change]:
    """Return what happened to everything but tables, columns, constraints and indexes."""
    found: list[Change] = []
    for kind, (added, dropped, other) in _PLAIN.items():
        new = compared.new(kind)
        names = {facts["name"]: key for key, facts in new.items()}
        for facts in compared.gone(kind).values():
            if _within_gone(compared, facts):
                continue
            again = new.pop(names[facts["name"]], None) if facts["name"] in names else None
            found.append(_gone(kind, facts, again, dropped))
        for facts in new.values():
            found += _new(compared, kind, facts, added)
        for _key, was, now in compared.kept(kind):
            found += _kept(kind, was, now, other)
    return found


def _within_gone(compared: Compared, facts: Facts) -> bool:
    """Return whether the table or the column of an object is gone as well, which is told already."""
    relation, of = facts.get("relation"), facts.get("of")
    if relation is not None and not compared.was_there(relation):
        return True
    return of is not None and of not in compared.after["column"] and not of.endswith(".0")


def _gone(kind: str, was: Facts, again: Facts | None, dropped: str) -> Change:
    relation = was.get("relation", "")
    if again is None:
        return Change(dropped, kind, was["name"], "was dropped", relation)
    same = {fact: value for fact, value in was.items() if fact not in _SEEN | {"storage", "last"}}
    if all(again.get(fact) == value for fact, value in same.items()) and set(was.get("rights", ())) <= set(
        again.get("rights", ())
    ):
        return Change(REVIEW, kind, was["name"], "was dropped and made anew", relation)
    replaced = kind == "function" and again["result"] == was["result"] and again["arguments"] == was["arguments"]
    return Change(
        REVIEW if replaced else dropped, kind, was["name"], "was dropped and made anew, as another one", relation
    )


def _new(compared: Compared, kind: str, now: Facts, level: str) -> list[Change]:
    relation = now.get("relation", "")
    what = "was added"
    if relation and not compared.was_there(relation):
        return []
    if kind == "sequence" and now.get("of") and str(now["of"]).partition(".")[0] not in compared.before["relation"]:
        return []
    if kind == "policy" and not now["permissive"]:
        level, what = CONTRACT, "was added, which hides rows"
    if kind == "function" and any(one["bare"] == now["bare"] for one in compared.before["function"].values()):
        level, what = REVIEW, "was added, and a call of the same name may mean it"
    return [Change(level, kind, now["name"], what, relation)]


def _kept(kind: str, was: Facts, now: Facts, level: str) -> list[Change]:
    relation = was.get("relation", "")
    found = rights_changes(kind, was, now, relation) if "rights" in was else []
    if was["name"] != now["name"]:
        renamed = CONTRACT if kind in ("schema", "function", "type", "sequence") else REVIEW
        found.append(Change(renamed, kind, was["name"], f"was renamed to {now['name']}", relation))
    if kind == "type":
        return found + _type(was, now)
    facts = sorted(fact for fact in was if fact not in _SEEN and was[fact] != now[fact])
    if kind == "function" and facts and (was["result"] != now["result"]):
        level = CONTRACT
    if facts:
        found.append(Change(level, kind, was["name"], f"is another one than before ({', '.join(facts)})", relation))
    return found


def _type(was: Facts, now: Facts) -> list[Change]:
    found: list[Change] = []

    def add(level: str, what: str) -> None:
        found.append(Change(level, "type", was["name"], what))

    old, new = was["labels"] or {}, now["labels"] or {}
    for key in sorted(old.keys() & new.keys()):
        if old[key] != new[key]:
            add(CONTRACT, f"calls its value {old[key]} {new[key]}")
    for key in sorted(new.keys() - old.keys()):
        add(REVIEW, f"has a new value {new[key]}, which old readers do not know")
    if now["notnull"] and not was["notnull"]:
        add(CONTRACT, "refuses NULL")
    for name in sorted(now["checks"].keys() - was["checks"].keys()):
        add(CONTRACT, f"has a new check ({now['checks'][name]})")
    if (
        was["checks"].keys() - now["checks"].keys()
        or was["default"] != now["default"]
        or (was["notnull"] and not now["notnull"])
    ):
        add(REVIEW, "has another default, or refuses less than before")
    return found


def event_changes(compared: Compared, events: typing.Sequence[Event]) -> list[Change]:
    """Return what the snapshots do not show: changes of data, storage made anew, and objects of kinds that they do not know."""
    found = [
        Change(_VERBS[event.tag][0], "table", one["name"], _VERBS[event.tag][1], one["relation"], by_data=True)
        for event in events
        if event.kind == "data"
        for one in event.objects
    ]
    for event in events:
        if event.tag in _MEANINGLESS + _MEANINGLESS_TOO:
            continue
        for one in event.objects if event.kind in ("ddl", "drop") else ():
            known = one["type"] in _IN_SNAPSHOTS
            if event.kind == "drop" and one.get("original") and not known:
                found.append(Change(CONTRACT, one["type"], one["name"], "was dropped"))
            elif event.kind == "ddl" and not known:
                found.append(Change(REVIEW, one["type"], one["name"], f"was changed ({event.tag})"))
    found += _stored_anew(compared, events)
    return list(dict.fromkeys(found))


def _stored_anew(compared: Compared, events: typing.Sequence[Event]) -> list[Change]:
    known = {
        one.get("relation")
        for event in events
        if event.kind == "rewrite" or event.tag == "TRUNCATE"
        for one in event.objects
    }
    return [
        Change(REVIEW, "table", was["name"], "was stored anew as a whole (VACUUM FULL, CLUSTER or the like)", key)
        for key, was, now in compared.kept("relation")
        if was["storage"] != now["storage"] and key not in known and was["kind"] in ("r", "m")
    ]
