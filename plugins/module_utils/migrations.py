# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The schema at a revision: read, planned, and reached exactly once by the app's own tool, under a lock."""

from __future__ import annotations

import contextlib
import re
import time
import typing
from dataclasses import dataclass, replace
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils import migration_attempt
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.fence import fenced
from ansible_collections.baton.release.plugins.module_utils.migration_lock import migration_lock
from ansible_collections.baton.release.plugins.module_utils.migration_plan import (
    Way,
    refuse_contract,
    refuse_irreversible,
)
from ansible_collections.baton.release.plugins.module_utils.migration_tool import NotThereYet
from ansible_collections.baton.release.plugins.module_utils.rehearsal import rehearse
from ansible_collections.baton.release.plugins.module_utils.rehearsal_gate import failing_rows, measured, pass_gate

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_lock import LockSession
    from ansible_collections.baton.release.plugins.module_utils.migration_plan import Schema
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Ended, Surroundings
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_gate import Gate

__all__ = ["Tool", "Wanted", "migrate"]

# What PostgreSQL says in English, and what its code is called in any language.
_LOCK_TIMEOUT = re.compile("lock timeout|LockNotAvailable|55P03")
_LONGEST_PAUSE = 30.0  # seconds
Make = typing.Callable[[], "Tool"]


class Tool(typing.Protocol):
    """What a driver does with the app's own migration tool."""

    surroundings: Surroundings
    """The environment that the tool is run in."""

    def schema(self) -> Schema:
        """Return where the tree and the database are; writes nothing, not even what the tool's own status would write.

        Raises:
            BatonError: it cannot be read, or the database is in a state from which the tool cannot go on.
        """

    def up(self, way: Way, session: LockSession) -> Ended:
        """Apply the steps of ``way`` and nothing else, while ``session`` holds the lock."""

    def down(self, way: Way, session: LockSession) -> Ended:
        """Undo the steps of ``way`` and nothing else, while ``session`` holds the lock.

        Raises:
            BatonError: the tool cannot do that.
        """

    def advice(self, ended: Ended) -> str | None:
        """Return what to do about a run of the tool that failed, None when only PostgreSQL's own words tell."""


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
                result = _change(tool, wanted, gate, directory)
            result["env_files_missing"] = list(tool.surroundings.missing_files)
            result.setdefault("last_attempt", _told(migration_attempt.last_failed(directory)))
    return {**result, "seconds": round(time.monotonic() - started, 3)}


def _told(attempt: migration_attempt.Attempt | None) -> str:
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
        return _result(schema, schema, msg=_where(schema))
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
    schema = tool.schema()
    way = _way(schema, wanted if gate.required else replace(wanted, allow_contract=True))
    if not way.steps:
        return _result(schema, schema, msg=f"nothing to rehearse: {way.nothing}")
    found = _gate(tool, wanted, gate, way) if gate.required else rehearse(gate.how, tool, way)
    msg = f"a rehearsal to {way} found: {found['level']}{failing_rows(found)}"
    return {**_result(schema, schema, msg=msg), "rehearsal": found}


def _gate(tool: Tool, wanted: Wanted, gate: Gate, way: Way, *, only_kept: bool = False) -> dict[str, typing.Any]:
    if not way.steps:
        return {}
    return pass_gate(gate, tool, way, allow_contract=wanted.allow_contract, only_kept=only_kept)


def _change(tool: Tool, wanted: Wanted, gate: Gate, directory: Path) -> dict[str, typing.Any]:
    around = tool.surroundings
    with migration_lock(around.variables, around.url, wait=wanted.lock_timeout) as session:
        last = migration_attempt.last_failed(directory)
        # Read under the lock: whoever held it before may have done this very work.
        before = tool.schema()
        way = _way(before, wanted)
        if not way.steps:
            if last:
                migration_attempt.end(directory, None)
            return {**_result(before, before, msg=way.nothing), "last_attempt": _told(last)}
        found = _gate(tool, wanted, gate, way)
        known = found if way.up else {}
        migration_attempt.begin(directory, str(way))
        try:
            ended, timeouts = _run(tool, way, session, wanted.lock_retries)
        except BatonError:
            migration_attempt.end(directory, None)  # refused, and not begun
            raise
        if ended.returncode != 0:
            migration_attempt.end(directory, _how(ended))
            raise _failure(tool, way, ended, last, session.invalid_indexes())
        after, invalid = tool.schema(), session.invalid_indexes()
        _refuse_other_end(way, after, ended, directory)
        migration_attempt.end(directory, None)
    msg = f"{'applied' if way.up else 'undid'} {', '.join(one.revision for one in way.steps)}; {_where(after)}"
    return {
        **_result(before, after, msg=msg),
        "changed": True,
        **way.as_result(measured(way.steps, known)),
        **({"rehearsal": found} if found else {}),
        "last_attempt": _told(last),
        "lock_timeouts": timeouts,
        "invalid_indexes": invalid,
    }


def _run(tool: Tool, way: Way, session: LockSession, retries: int) -> tuple[Ended, int]:
    """Go the whole way; return how the tool ended, and how often it waited for a table in vain and what was left was tried again."""
    for timeouts in range(retries + 1):
        ended = tool.up(way, session) if way.up else tool.down(way, session)
        if ended.returncode in (0, None) or not _LOCK_TIMEOUT.search(ended.output) or timeouts == retries:
            break
        # In between the app gets its table.
        time.sleep(min(2**timeouts, _LONGEST_PAUSE))
        now = tool.schema()
        left = way.left(now)
        if not left:
            break
        way = replace(way, before=now, steps=tuple(left))
    return ended, timeouts


def _refuse_other_end(way: Way, after: Schema, ended: Ended, directory: Path) -> None:
    """Refuse to believe a tool that says it succeeded when the database says otherwise."""
    left, besides = way.left(after), way.besides(after)
    if not left and not besides:
        return
    also = f" and it changed {', '.join(besides)} as well" if besides else ""
    migration_attempt.end(directory, "ended with another schema than planned")
    raise BatonError(
        found=f"the tool reported success, but the schema is at {_at(after)}{also}",
        expected=f"to {way}, and nothing else",
        fix="look at the app's configuration of the tool: it may migrate another database than the one it is read from, not commit,"
        " or do more than it was told to",
        current=list(after.current),
        current_before=list(way.before.current),
        output=ended.tail,
    )


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
        return Way(before=schema, up=True, targets=(), steps=(), nothing=f"{_where(schema)}; nothing was done")
    refuse_contract(pending, allow=wanted.allow_contract)
    return Way(
        before=schema,
        up=True,
        targets=targets,
        steps=tuple(pending),
        nothing=f"{', '.join(targets) or 'an empty tree'} is applied already",
    )


def _how(ended: Ended) -> str:
    if ended.returncode is None:
        return "did not end in time and was ended"
    return f"ended with {ended.returncode}: {ended.headline}"


def _failure(
    tool: Tool, way: Way, ended: Ended, last: migration_attempt.Attempt | None, invalid: list[str]
) -> BatonError:
    details: dict[str, typing.Any] = {"current_before": list(way.before.current), "output": ended.tail}
    try:
        now = tool.schema()
    except BatonError as error:
        reached = f"where the schema is now could not be read ({error})"
    else:
        reached = f"the schema is at {_at(now)}, it was at {_at(way.before)}"
        left = way.left(now)
        details.update(current=list(now.current), **way.as_result([one for one in way.steps if one not in left]))
    earlier = f"; before, {last}" if last else ""
    earlier += f"; invalid indexes: {', '.join(invalid)}" if invalid else ""
    return BatonError(
        found=f"the tool was to {way} and {_how(ended)}; {reached}{earlier}",
        expected="every migration to succeed",
        fix=tool.advice(ended) or _advice(ended, last, invalid),
        invalid_indexes=invalid,
        **details,
        last_attempt=_told(last),
    )


def _advice(ended: Ended, last: migration_attempt.Attempt | None, invalid: list[str]) -> str:
    if ended.returncode is None:
        return "raise timeout or make the migration smaller, and run again; what was not committed is rolled back"
    if _LOCK_TIMEOUT.search(ended.output):
        return "another session uses the table: run again at a quieter time, or raise ddl_lock_timeout"
    if "statement timeout" in ended.output:
        return "make the migration smaller, or raise statement_timeout"
    if invalid:
        return (
            "CREATE INDEX CONCURRENTLY leaves an invalid index behind when it fails: run DROP INDEX CONCURRENTLY on it, correct what"
            " the output says, such as doubled values, and run again"
        )
    if "already exists" in ended.output:
        which = "that attempt" if last else "an earlier attempt, or a person,"
        return (
            f"{which} has left a part of this migration behind, which ran outside a transaction: remove that part by hand,"
            " or let the migration skip what is there, and run again"
        )
    return (
        "read output, correct the migration and run again; statements outside a transaction, such as"
        " CREATE INDEX CONCURRENTLY, may have left something behind"
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


def _where(schema: Schema) -> str:
    if schema.ahead:
        return f"the schema is ahead of this tree, which does not know {', '.join(schema.ahead)}"
    waiting = len(schema.pending())
    return f"the schema is at {_at(schema)}, " + (
        f"{waiting} migrations of this tree are pending" if waiting else "up to date"
    )


def _at(schema: Schema) -> str:
    return ", ".join(schema.current) or "base"
