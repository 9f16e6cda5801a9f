# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a rehearsal says: the changes and their levels, locks, scans, rewrites, changes of data, and the way down and up again."""

from __future__ import annotations

import re
import typing

from ansible_collections.baton.release.plugins.module_utils.rehearsal_catalog import difference
from ansible_collections.baton.release.plugins.module_utils.rehearsal_change import CONTRACT, Change, Compared, worst
from ansible_collections.baton.release.plugins.module_utils.rehearsal_rules_constraints import (
    constraint_changes,
    index_changes,
)
from ansible_collections.baton.release.plugins.module_utils.rehearsal_rules_others import event_changes, other_changes
from ansible_collections.baton.release.plugins.module_utils.rehearsal_rules_tables import (
    column_changes,
    relation_changes,
)
from ansible_collections.baton.release.plugins.module_utils.rehearsal_statements import Asked

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_plan import Revision
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_recorder import Event
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_run import Seen
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_statements import Statement
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_target import Table

__all__ = ["UNSEEN", "changes_seen", "findings"]

Found = typing.Dict[str, typing.Any]  # noqa: UP006 - Python 3.9 evaluates it
_HARMLESS_LOCKS = ("AccessShareLock", "RowShareLock")
_BY_DATA = "RowExclusiveLock"
_STATEMENT = 300  # characters
UNSEEN = "UNSEEN"
"""The tag of what is written down where the triggers of a table are switched off: nobody knows what was changed."""
_LOST = ("r", "p", "f", "m")
# In the order of PostgreSQL: each conflicts with more than the one before.
_MODES = (
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)


def changes_seen(seen: Seen, asked: typing.Sequence[Statement] = ()) -> list[Change]:
    """Return every change of the first way with its level, the worst first; ``asked`` are the app's statements."""
    compared = Compared(seen.before, seen.after, lambda check: check["name"] in seen.passing)
    found = [
        *relation_changes(compared),
        *column_changes(compared),
        *constraint_changes(compared),
        *index_changes(compared),
        *other_changes(compared),
        *event_changes(compared, seen.events),
        *_broken(seen, asked),
    ]
    order = {"contract": 0, "review": 1, "expand": 2}
    return sorted(found, key=lambda one: order[one.level])


def _broken(seen: Seen, asked: typing.Sequence[Statement]) -> list[Change]:
    return [
        Change(
            CONTRACT,
            "statement",
            " ".join(one.text.split())[:_STATEMENT],
            f"of {one.role}, run {one.calls} times, works no longer: {seen.refused_after[one.key]}",
        )
        for one in asked
        if one.key in seen.refused_after and one.key not in seen.refused_before
    ]


def findings(seen: Seen, steps: typing.Sequence[Revision], asked: Asked | None = None, *, up: bool = True) -> Found:
    """Return what a rehearsal of ``steps``, which go ``up`` or down, found, as it is shown and kept.

    ``asked`` is what the app asks of the database.
    """
    asked = asked or Asked()
    parts = _parts(seen.events, steps)
    changes = changes_seen(seen, asked.statements)
    return {
        "level": worst(one.level for one in changes),
        "changes": [
            {
                "level": one.level,
                "kind": one.kind,
                "name": one.name,
                "what": one.what,
                "revisions": _revisions(one, parts, steps),
            }
            for one in changes
        ],
        "statements": [
            {**statement, "revision": revision}
            for revision, events, _columns in parts
            for statement in (_statement(event, events) for event in events)
            if statement
        ],
        "prechecks": [
            {
                **one.as_kept(),
                "revisions": _revisions(Change("", one.kind, one.name, one.what, one.relation, one.key), parts, steps),
            }
            for one in seen.prechecks
        ],
        "down": {**_down(seen), "changes_data": _data_on_the_way_back(seen, steps, up=not up)},
        "again": _again(seen),
        "app_statements": {
            "tried": len(asked.statements) - len(seen.refused_before),
            "broken": len(_broken(seen, asked.statements)),
            "untried": len(seen.refused_before) + asked.left_out,
            "hidden": asked.hidden,
            "why": asked.why,
        },
    }


class _Part(typing.NamedTuple):
    """What happened before the tool noted the migration ``revision``, and the keys of the columns that were changed by then."""

    revision: str
    events: list[Event]
    columns: set[str]


def _parts(events: typing.Sequence[Event], steps: typing.Sequence[Revision]) -> list[_Part]:
    """Return what belongs to each migration; what nobody noted belongs to no one."""
    parts: list[_Part] = []
    open_part: list[Event] = []
    columns: dict[str, str] = {}
    for event in events:
        if event.kind == "start":
            columns = event.columns
            continue
        if event.kind != "note":
            open_part.append(event)
            continue
        revision = _noted(event, steps)
        if revision:
            now = event.columns
            changed = {key for key in {*columns, *now} if columns.get(key) != now.get(key)}
            parts.append(_Part(revision, open_part, changed))
            open_part, columns = [], now
    only = steps[0].revision if len(steps) == 1 else ""
    return [*parts, _Part(only, open_part, set())]


def _noted(event: Event, steps: typing.Sequence[Revision]) -> str:
    values = {str(value) for value in event.objects}
    for one in steps:
        app, dot, name = one.revision.partition(".")
        if one.revision in values or (dot and {app, name} <= values):
            return one.revision
    return ""


def _revisions(change: Change, parts: list[_Part], steps: typing.Sequence[Revision]) -> list[str]:
    """Return the migrations that touched what changed; all of them when nobody can tell."""
    own = [part.revision for part in parts if change.key and change.key in part.columns]
    if own:
        return own
    kinds = ("data",) if change.by_data else ("ddl", "drop", "rewrite")
    seen = [
        (revision, one)
        for revision, events, _columns in parts
        for event in events
        if revision and event.kind in kinds
        for one in event.objects
    ]
    bare = change.name.partition("(")[0]
    named = [revision for revision, one in seen if str(one.get("name", "")).partition("(")[0] == bare]
    touched = named or [
        revision for revision, one in seen if change.relation and one.get("relation") == change.relation
    ]
    return list(dict.fromkeys(touched)) or [one.revision for one in steps]


def _statement(event: Event, around: typing.Sequence[Event]) -> Found | None:
    """Return what a statement did to tables that were there, None when it did nothing to them."""
    if event.tag == UNSEEN:
        return None
    if event.kind == "data":
        kept = {table: modes for table, modes in _strongest(event.locks).items() if modes != _BY_DATA}
        names = [one["name"] for one in event.objects]
        return _told(event, ", ".join(names), takes={}, holds=kept, scans=[], rewrites=[], data=names)
    if event.kind != "ddl":
        return None
    before, after = _strongest(event.held), _strongest(event.locks)
    taken = {table: mode for table, mode in after.items() if before.get(table) != mode}
    rewrites = [
        one["name"]
        for other in around
        if other.kind == "rewrite" and other.transaction == event.transaction and other.query == event.query
        for one in other.objects
    ]
    if not taken and not event.scans and not rewrites:
        return None
    names = list(dict.fromkeys(str(one["name"]) for one in event.objects)) or sorted(taken)
    return _told(
        event,
        ", ".join(names[:3]),
        takes=taken,
        holds=before,
        scans=event.scans,
        rewrites=list(dict.fromkeys(rewrites)),
    )


def _told(
    event: Event,
    names: str,
    *,
    takes: dict[str, str],
    holds: dict[str, str],
    scans: list[str],
    rewrites: list[str],
    data: list[str] | None = None,
) -> Found:
    return {
        "tag": event.tag,
        "on": names,
        "concurrently": bool(re.search(r"\bCONCURRENTLY\b", event.query, re.IGNORECASE))
        and event.tag.endswith("INDEX"),
        "takes": takes,
        "holds": holds,
        "scans": scans,
        "rewrites": rewrites,
        "changes_data": data or [],
        "query": " ".join(event.query.split())[:_STATEMENT],
    }


def _strongest(locks: dict[str, list[str]]) -> dict[str, str]:
    found = {table: max(modes, key=_MODES.index) for table, modes in sorted(locks.items())}
    return {table: mode for table, mode in found.items() if mode not in _HARMLESS_LOCKS}


def _down(seen: Seen) -> Found:
    if seen.after_down is None:
        return {"reached": False, "why": seen.down, "restores": False, "differences": [], "loses": []}
    differences = difference(seen.before, seen.after_down)
    here = {facts["name"]: key for key, facts in seen.after_down["column"].items()}
    lost = [
        facts["name"]
        for key, facts in seen.after["column"].items()
        if facts["kind"] in _LOST and here.get(facts["name"]) != key and key not in seen.after_down["column"]
    ]
    return {"reached": True, "why": "", "restores": not differences, "differences": differences, "loses": sorted(lost)}


def _data_on_the_way_back(seen: Seen, steps: typing.Sequence[Revision], *, up: bool) -> list[Found]:
    # On its way down a tool notes what it comes to, so there nobody can tell which migration did it.
    parts = (
        _parts(seen.back, steps[::-1])
        if up
        else [_Part(steps[0].revision if len(steps) == 1 else "", [*seen.back], set())]
    )
    return [
        {
            "tag": event.tag,
            "tables": [one["name"] for one in event.objects],
            "query": "" if event.tag == UNSEEN else " ".join(event.query.split())[:_STATEMENT],
            "revision": revision,
        }
        for revision, events, _columns in parts
        for event in events
        if event.kind == "data"
    ]


def _again(seen: Seen) -> Found:
    if seen.after_again is None:
        why = seen.again or "the way down was not reached"
        return {"reached": False, "why": why, "equal": False, "differences": []}
    differences = difference(seen.after, seen.after_again)
    return {"reached": True, "why": "", "equal": not differences, "differences": differences}


def sizes(found: Found, tables: typing.Mapping[str, Table]) -> dict[str, dict[str, int]]:
    """Return how large the tables are in the target that statements scan, rewrite or lock."""
    named = {
        name
        for statement in found["statements"]
        for fact in ("takes", "scans", "rewrites", "changes_data")
        for name in statement[fact]
    }
    named.update(name for statement in found["down"]["changes_data"] for name in statement["tables"])
    return {name: tables[name]._asdict() for name in sorted(named) if name in tables}
