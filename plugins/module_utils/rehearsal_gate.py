# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The gate on a rehearsal: what was measured decides beside what the files say of themselves."""

from __future__ import annotations

import typing

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_kinds import kind_of
from ansible_collections.baton.release.plugins.module_utils.rehearsal import not_made, rehearse
from ansible_collections.baton.release.plugins.module_utils.rehearsal_change import CONTRACT, REVIEW
from ansible_collections.baton.release.plugins.module_utils.rehearsal_how import OFF
from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck import listed
from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck_run import FAILS
from ansible_collections.baton.release.plugins.module_utils.rehearsal_server import throw_away_server

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_interface import Tool
    from ansible_collections.baton.release.plugins.module_utils.migration_plan import Way
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_how import Gate
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_server import Serve

__all__ = ["failing_rows", "pass_gate"]

Found = typing.Dict[str, typing.Any]  # noqa: UP006 - Python 3.9 evaluates it


def pass_gate(
    gate: Gate, tool: Tool, way: Way, *, allow_contract: bool, only_kept: bool = False, serve: Serve = throw_away_server
) -> Found:
    """Rehearse the way, refuse it where the gate says so, and return what was found; nothing where the gate is off.

    Args:
        gate: the gate.
        tool: the app's tool, as it is used for the target.
        way: up or down, with at least one step.
        allow_contract: whether a change may pass that the version that serves does not survive.
        only_kept: rehearse nothing, and judge by what was found before.
        serve: what runs a server for the rehearsal where none is given.

    Raises:
        BatonError: the gate is closed: for a change, for rows that are in the way of one, or because it could not be rehearsed.
    """
    if gate.mode == OFF:
        return {}
    try:
        found = rehearse(gate.how, tool, way, only_kept=only_kept, serve=serve)
    except BatonError as error:
        if gate.required:
            raise
        return not_made(error, way, kind_of(tool.surroundings.url))
    if gate.required and found["made"] and not way.up:
        _refuse_loss(found, way)
    if gate.required and found["made"]:
        _refuse_rows(found)
        _refuse(found, way, allow_contract=allow_contract, allow_review=gate.allow_review)
    return found


def _refuse(found: Found, way: Way, *, allow_contract: bool, allow_review: bool) -> None:
    marks = {one.revision: one.phase for one in way.steps}
    contract, review = (_told(found, level, marks) for level in (CONTRACT, REVIEW))
    if contract and not way.up and not allow_contract:
        raise BatonError(
            found=f"{'; '.join(contract)}; measured in a rehearsal of the way down, nothing was changed",
            expected="only changes that the version which serves survives, as long as it does",
            fix="release a version that suits the schema instead; or allow it with allow_contract when that version no longer serves",
            rehearsal=found,
        )
    if contract and not allow_contract:
        raise BatonError(
            found=f"{'; '.join(contract)}; measured in a rehearsal, nothing was changed",
            expected="only changes that the previous version survives, as long as it may still serve",
            fix="change the migration so that it only adds, and leave the rest for a release after no older version is in use;"
            " or allow it with allow_contract when there is no going back to an older one",
            rehearsal=found,
        )
    if review and not (allow_review or allow_contract):
        raise BatonError(
            found=f"{'; '.join(review)}; measured in a rehearsal, nothing was changed",
            expected="only changes that need nobody's judgement",
            fix=f"look whether the {'previous version' if way.up else 'version that serves'} can live with this,"
            " and then allow it with allow_review",
            rehearsal=found,
        )


def _refuse_loss(found: Found, way: Way) -> None:
    """Refuse a way down to a schema whose data is gone: what the way up removed, the way down makes anew, and empty."""
    back = found["down"]
    if back["reached"] and not back["loses"]:
        return
    lost = f"what was in {', '.join(back['loses'])} is gone since they were applied"
    raise BatonError(
        found=f"to {way}, {lost if back['loses'] else 'and what is gone since they were applied is not known: ' + back['why']};"
        " measured in a rehearsal of the way down, nothing was changed",
        expected="a way down that brings back all that an older version needs",
        fix="restore a backup, or release a version that suits the schema",
        rehearsal=found,
    )


_MENDS: dict[str, str] = {
    "not-null": "give the rows that are NULL a value",
    "unique": "remove or change rows until each value is there once",
    "foreign-key": "remove the rows that refer to nothing, or add what they refer to",
    "check": "correct the rows that fail it",
    "type": "correct the rows that do not fit",
}


def failing_rows(found: Found) -> str:
    """Return of how many changes rows of the target are in the way, as the end of a sentence; nothing when it is none."""
    number = sum(one["outcome"] == FAILS for one in found["prechecks"])
    return f", and rows of the database are in the way of {number} of its changes" if number else ""


def _refuse_rows(found: Found) -> None:
    """Refuse what the rows of the target make fail half-way, whatever is allowed: no permission makes it succeed."""
    failing = [one for one in found["prechecks"] if one["outcome"] == FAILS]
    if not failing:
        return
    said = "; ".join(
        f"{one['kind']} {one['name']} {one['what']}, and in {one['table']} {listed(one)} ({', '.join(one['revisions'])})"
        for one in failing
    )
    mends = "; ".join(dict.fromkeys(_MENDS[one["kind"]] for one in failing))
    raise BatonError(
        found=f"{said}; read in the database, nothing was changed",
        expected="no rows on which the migrations fail half-way",
        fix=f"{mends}; by hand, or in the migration before it does this, and run again",
        rehearsal=found,
    )


def _told(found: Found, level: str, marks: typing.Mapping[str, str]) -> list[str]:
    return [
        f"{level}: {one['kind']} {one['name']} {one['what']}"
        f" ({', '.join(f'{revision}, marked {marks.get(revision)}' for revision in one['revisions'])})"
        for one in found["changes"]
        if one["level"] == level
    ]
