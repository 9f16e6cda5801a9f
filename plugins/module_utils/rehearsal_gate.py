# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The gate on a rehearsal: what was measured decides beside what the files say of themselves."""

from __future__ import annotations

import typing
from dataclasses import dataclass, replace

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.rehearsal import not_made, rehearse
from ansible_collections.baton.release.plugins.module_utils.rehearsal_change import CONTRACT, REVIEW

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_plan import Revision, Way
    from ansible_collections.baton.release.plugins.module_utils.migrations import Tool
    from ansible_collections.baton.release.plugins.module_utils.rehearsal import Rehearsal

__all__ = ["REHEARSALS", "Gate", "measured", "pass_gate"]

OFF, REPORT, REQUIRED = "off", "report", "required"
REHEARSALS = (OFF, REPORT, REQUIRED)
Found = typing.Dict[str, typing.Any]  # noqa: UP006 - Python 3.9 evaluates it


@dataclass(frozen=True)
class Gate:
    """What a rehearsal decides: ``mode`` is one of ``REHEARSALS``, and ``how`` says how to rehearse."""

    mode: str
    how: Rehearsal
    allow_review: bool = False


def pass_gate(gate: Gate, tool: Tool, way: Way, *, allow_contract: bool, only_kept: bool = False) -> Found:
    """Rehearse the way up, refuse it where the gate says so, and return what was found; nothing where the gate is off.

    Args:
        gate: the gate.
        tool: the app's tool, as it is used for the target.
        way: up, with at least one step.
        allow_contract: whether a change may pass that the previous version does not survive.
        only_kept: rehearse nothing, and judge by what was found before.

    Raises:
        BatonError: the gate is closed: for a change, or because it could not be rehearsed.
    """
    if gate.mode == OFF:
        return {}
    try:
        found = rehearse(gate.how, tool, way, only_kept=only_kept)
    except BatonError as error:
        if gate.mode == REQUIRED:
            raise
        return not_made(error)
    if gate.mode == REQUIRED and found["made"]:
        _refuse(found, way, allow_contract=allow_contract, allow_review=gate.allow_review)
    return found


def _refuse(found: Found, way: Way, *, allow_contract: bool, allow_review: bool) -> None:
    marks = {one.revision: one.phase for one in way.steps}
    contract, review = (_told(found, level, marks) for level in (CONTRACT, REVIEW))
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
            fix="look whether the previous version can live with this, and then allow it with allow_review",
            rehearsal=found,
        )


def _told(found: Found, level: str, marks: typing.Mapping[str, str]) -> list[str]:
    return [
        f"{level}: {one['kind']} {one['name']} {one['what']}"
        f" ({', '.join(f'{revision}, marked {marks.get(revision)}' for revision in one['revisions'])})"
        for one in found["changes"]
        if one["level"] == level
    ]


def measured(steps: typing.Sequence[Revision], found: Found) -> tuple[Revision, ...]:
    """Return ``steps`` with the phase contract where a rehearsal has measured that, whatever their files say."""
    contract = {
        revision for one in found.get("changes", ()) if one["level"] == CONTRACT for revision in one["revisions"]
    }
    return tuple(replace(one, phase=CONTRACT) if one.revision in contract else one for one in steps)
