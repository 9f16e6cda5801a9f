# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The schema at a revision: read, planned, and reached exactly once by the app's own tool, under a lock."""

from __future__ import annotations

import contextlib
import time
import typing
from dataclasses import dataclass, replace
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils import migration_log
from ansible_collections.baton.release.plugins.module_utils.fence import fenced
from ansible_collections.baton.release.plugins.module_utils.migration_change import Change, seen
from ansible_collections.baton.release.plugins.module_utils.migration_locks import hold_lock
from ansible_collections.baton.release.plugins.module_utils.migration_plan import (
    Way,
    refuse_contract,
    refuse_irreversible,
)
from ansible_collections.baton.release.plugins.module_utils.migration_quiet import locks_of
from ansible_collections.baton.release.plugins.module_utils.migration_tool import NotThereYet
from ansible_collections.baton.release.plugins.module_utils.rehearsal_how import OFF, measured

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_interface import Tool
    from ansible_collections.baton.release.plugins.module_utils.migration_plan import Schema
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_how import Gate

__all__ = ["Wanted", "migrate"]

Make = typing.Callable[[], "Tool"]


@dataclass(frozen=True)
class Wanted:
    """What is asked for: ``state`` is ``upgraded``, ``downgraded``, ``gathered`` or ``rehearsed``; ``lock_timeout`` is in seconds.

    ``revision`` is None for the newest one of the tree, and for all that ``keep`` does not need on the way down.
    """

    state: str
    revision: str | None = None
    allow_contract: bool = False
    lock_timeout: float = 60.0
    lock_retries: int = 0
    """How often to try again what waited for a table in vain."""
    keep: tuple[str, ...] = ()
    """Revisions that a version in use was made for: they are not undone, nor what they build on."""
    down: bool = False
    """Whether the way down is rehearsed."""
    timeout: float = 900.0
    """Seconds in which the tool is to have done all of it, with what is tried again."""


def migrate(
    *,
    make: Make,
    wanted: Wanted,
    gate: Gate,
    likely: typing.Sequence[typing.Mapping[str, typing.Any]] | None,
    state_dir: str,
    token: int | None,
    check_mode: bool,
) -> dict[str, typing.Any]:
    """Bring the schema to the wanted revision, or say where it is, and return the module's result.

    Args:
        make: what makes the driver of the app's tool.
        wanted: the state asked for.
        gate: whether and how migrations are rehearsed before.
        likely: migrations of the version to come, for check mode on a host that has not got it yet.
        state_dir: the app's state directory on this host, for the fence.
        token: the lease under which this happens.
        check_mode: only read and plan.

    Raises:
        BatonError: with the revision that was reached, when something was begun.
    """
    started = time.monotonic()
    directory = Path(state_dir)
    with _fence(wanted, state_dir, token, check_mode=check_mode):
        try:
            tool = make()
        except NotThereYet as missing:
            if not check_mode:
                raise
            result = _unknown(missing.reason, likely or [], wanted)
        else:
            if wanted.state == "rehearsed":
                result = _rehearse(tool, wanted, gate)
            elif check_mode or wanted.state == "gathered":
                result = _read_only(tool, wanted, gate)
            else:
                result = _change(tool, wanted, gate, directory, token)
            result["env_files_missing"] = list(tool.surroundings.missing_files)
            result.setdefault("last_attempt", _told(migration_log.last_failed(directory)))
    return {**result, "seconds": round(time.monotonic() - started, 3)}


def _told(attempt: migration_log.Attempt | None) -> str:
    return str(attempt or "")


def _fence(
    wanted: Wanted, state_dir: str, token: int | None, *, check_mode: bool
) -> contextlib.AbstractContextManager[None]:
    if wanted.state in ("gathered", "rehearsed"):
        return contextlib.nullcontext()
    return fenced(state_dir, token, check_mode=check_mode)


def _read_only(tool: Tool, wanted: Wanted, gate: Gate) -> dict[str, typing.Any]:
    schema = tool.schema()
    if wanted.state == "gathered":
        return _result(schema, schema, msg=schema.where)
    way = _way(schema, wanted)
    msg = f"would {way}" if way.steps else way.nothing
    found = _gate(tool, wanted, gate, way, only_kept=True)
    steps = measured(way.steps, found if way.up else {})
    return {
        **_result(schema, schema, msg=msg),
        "changed": bool(way.steps),
        **way.as_result(steps),
        **({"rehearsal": found} if found else {}),
    }


def _rehearse(tool: Tool, wanted: Wanted, gate: Gate) -> dict[str, typing.Any]:
    from ansible_collections.baton.release.plugins.module_utils.rehearsal import (  # noqa: PLC0415 - as in _gate
        rehearse,
    )
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_ahead import (  # noqa: PLC0415 - as in _gate
        server_ahead,
    )
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_gate import (  # noqa: PLC0415 - as in _gate
        failing_rows,
        pass_gate,
    )

    with server_ahead(gate.how, tool.surroundings) as serve:
        schema = tool.schema()
        way = _way(schema, wanted if gate.required else replace(wanted, allow_contract=True))
        if not way.steps:
            return _result(schema, schema, msg=f"nothing to rehearse: {way.nothing}")
        if gate.required:
            found = pass_gate(gate, tool, way, allow_contract=wanted.allow_contract, serve=serve)
        else:
            found = rehearse(gate.how, tool, way, serve=serve)
    msg = f"a rehearsal to {way} found: {found['level']}{failing_rows(found)}"
    return {**_result(schema, schema, msg=msg), "rehearsal": found}


def _gate(tool: Tool, wanted: Wanted, gate: Gate, way: Way, *, only_kept: bool = False) -> dict[str, typing.Any]:
    if not way.steps or gate.mode == OFF:
        return {}
    # A third of all that this module consists of, which most runs have no use for.
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_gate import (  # noqa: PLC0415 - see above
        pass_gate,
    )

    return pass_gate(gate, tool, way, allow_contract=wanted.allow_contract, only_kept=only_kept)


def _change(tool: Tool, wanted: Wanted, gate: Gate, directory: Path, token: int | None) -> dict[str, typing.Any]:
    with hold_lock(tool.surroundings, wait=wanted.lock_timeout) as session:
        # Read under the lock: whoever held it before may have done this very work.
        before = tool.schema()
        last = migration_log.last_failed(directory)
        if last and not last.known:
            migration_log.end(directory, last.how, seen(last.steps, before))
        way = _way(before, wanted)
        if not way.steps:
            if last:
                migration_log.end(directory, None, last.steps if last.known else seen(last.steps, before))
            return {**_result(before, before, msg=way.nothing), "last_attempt": _told(last)}
        found = _gate(tool, wanted, gate, way)
        steps = measured(way.steps, found if way.up else {})
        change = Change(tool, way, steps, session, directory, last, locks_of(found), wanted.lock_timeout)
        made = change.make(token=token, retries=wanted.lock_retries, timeout=wanted.timeout)
    msg = f"{'applied' if way.up else 'undid'} {', '.join(one.revision for one in way.steps)}; {made.after.where}"
    if not made.lock_kept:
        msg += "; the session that held the migration lock has ended meanwhile, so see that nothing else migrated beside this"
    if last and session.product in ("MariaDB", "MySQL"):
        msg += f"; {last}, and rows that it had changed by then may be changed twice, see to them"
    if made.invalid_indexes:
        msg += f"; invalid indexes, which are of no use: {', '.join(made.invalid_indexes)}"
    return {
        **_result(before, made.after, msg=msg),
        "changed": True,
        **way.as_result(steps),
        **({"rehearsal": found} if found else {}),
        "last_attempt": _told(last),
        "lock_timeouts": made.lock_timeouts,
        "invalid_indexes": made.invalid_indexes,
    }


def _way(schema: Schema, wanted: Wanted) -> Way:
    if wanted.state == "downgraded" or wanted.down:
        target = schema.target_kept(wanted.keep) if wanted.revision is None else schema.target_down(wanted.revision)
        undone = schema.above(target)
        refuse_irreversible(undone)
        schema.refuse_needed(undone, wanted.keep)
        return Way(
            before=schema,
            up=False,
            targets=(target,),
            steps=tuple(undone),
            nothing=f"nothing above {target} is applied",
        )
    targets = schema.targets_up(wanted.revision) if not schema.ahead or schema.done is not None else ()
    pending = schema.pending(targets)
    if schema.ahead and not pending:
        return Way(before=schema, up=True, targets=(), steps=(), nothing=f"{schema.where}; nothing was done")
    refuse_contract(pending, allow=wanted.allow_contract)
    return Way(
        before=schema,
        up=True,
        targets=targets,
        steps=tuple(pending),
        nothing=f"{', '.join(targets) or 'an empty tree'} is applied already",
    )


def _unknown(
    reason: str, likely: typing.Sequence[typing.Mapping[str, typing.Any]], wanted: Wanted
) -> dict[str, typing.Any]:
    steps = [dict(one) for one in likely] if wanted.state == "upgraded" else []
    return {
        "changed": bool(steps),
        "known": False,
        "current_before": [],
        "current": [],
        "heads": [],
        "applied": steps,
        "undone": [],
        "pending": steps,
        "ahead": [],
        "up_to_date": False,
        "msg": f"not known yet: {reason}",
    }


def _result(before: Schema, after: Schema, *, msg: str) -> dict[str, typing.Any]:
    return {
        "changed": False,
        "known": True,
        "current_before": list(before.current),
        "current": list(after.current),
        "heads": list(after.heads),
        "applied": [],
        "undone": [],
        "pending": [one.as_result() for one in after.pending()],
        "ahead": after.ahead,
        "up_to_date": after.up_to_date,
        "msg": msg,
    }
