# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The schema at a revision: read, planned, and reached exactly once by the app's own tool, under a lock."""

from __future__ import annotations

import contextlib
import time
import typing
from dataclasses import dataclass

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.fence import fenced
from ansible_collections.baton.release.plugins.module_utils.migrate_alembic import Alembic
from ansible_collections.baton.release.plugins.module_utils.migration_lock import migration_lock
from ansible_collections.baton.release.plugins.module_utils.migration_plan import refuse_contract, refuse_irreversible
from ansible_collections.baton.release.plugins.module_utils.migration_tool import NotThereYet

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_plan import Revision, Schema
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Ended, ToolSettings

__all__ = ["DRIVERS", "Wanted", "migrate"]

DRIVERS = {"alembic": Alembic}


@dataclass(frozen=True)
class Wanted:
    """What is asked for: ``state`` is ``upgraded``, ``downgraded`` or ``gathered``; ``lock_timeout`` is in seconds."""

    state: str
    revision: str | None = None
    allow_contract: bool = False
    lock_timeout: float = 60.0


@dataclass(frozen=True)
class _Plan:
    """The way from where the database is: up to ``targets``, or down to the only one of them."""

    up: bool
    targets: tuple[str, ...]
    steps: tuple[Revision, ...]
    nothing: str
    """Why there is nothing to do, when there are no steps."""

    def left(self, schema: Schema) -> list[Revision]:
        return schema.pending(self.targets) if self.up else schema.above(self.targets[0])

    def as_result(self, steps: typing.Iterable[Revision]) -> dict[str, list[dict[str, str]]]:
        return {
            "applied": [one.as_result() for one in steps] if self.up else [],
            "undone": [] if self.up else [one.as_undone() for one in steps],
        }

    def __str__(self) -> str:
        verb = "apply" if self.up else "undo"
        return f"{verb} {', '.join(one.revision for one in self.steps)}"


def migrate(
    *,
    driver: str,
    settings: ToolSettings,
    wanted: Wanted,
    likely: typing.Sequence[typing.Mapping[str, typing.Any]] | None,
    state_dir: str,
    token: int | None,
    check_mode: bool,
) -> dict[str, typing.Any]:
    """Bring the schema to the wanted revision, or say where it is, and return the module's result.

    Args:
        driver: key of ``DRIVERS``.
        settings: how the app's tool is run.
        wanted: the state asked for.
        likely: migrations of the version to come, for check mode on a host that has not got it yet.
        state_dir: the app's state directory on this host, for the fence.
        token: the lease under which this happens.
        check_mode: only read and plan.

    Raises:
        BatonError: with the revision that was reached, when something was begun.
    """
    started = time.monotonic()
    with _fence(wanted, state_dir, token, check_mode=check_mode):
        try:
            tool = DRIVERS[driver](settings)
        except NotThereYet as missing:
            if not check_mode:
                raise
            result = _unknown(missing.reason, likely or [], wanted)
        else:
            result = _read_only(tool, wanted) if check_mode or wanted.state == "gathered" else _change(tool, wanted)
            result["env_files_missing"] = list(tool.surroundings.missing_files)
    return {**result, "seconds": round(time.monotonic() - started, 3)}


def _fence(
    wanted: Wanted, state_dir: str, token: int | None, *, check_mode: bool
) -> contextlib.AbstractContextManager[None]:
    if wanted.state == "gathered":
        return contextlib.nullcontext()
    return fenced(state_dir, token, check_mode=check_mode)


def _read_only(tool: Alembic, wanted: Wanted) -> dict[str, typing.Any]:
    schema = tool.schema()
    if wanted.state == "gathered":
        return _result(schema, schema, msg=_where(schema))
    plan = _plan(schema, wanted)
    msg = f"would {plan}" if plan.steps else plan.nothing
    return {**_result(schema, schema, msg=msg), "changed": bool(plan.steps), **plan.as_result(plan.steps)}


def _change(tool: Alembic, wanted: Wanted) -> dict[str, typing.Any]:
    around = tool.surroundings
    with migration_lock(around.variables, around.url, wait=wanted.lock_timeout) as session:
        # Read under the lock: whoever held it before may have done this very work.
        before = tool.schema()
        plan = _plan(before, wanted)
        if not plan.steps:
            return _result(before, before, msg=plan.nothing)
        ended = tool.upgrade(plan.targets, session) if plan.up else tool.downgrade(plan.targets[0], session)
        if ended.returncode != 0:
            raise _failure(tool, before, plan, ended)
        after = tool.schema()
    if plan.left(after):
        raise BatonError(
            found=f"the tool reported success, but the schema is at {_at(after)}",
            expected=f"to {plan}",
            fix="look at the app's env.py: it may migrate another database than the one it is read from, or not commit",
            current=list(after.current),
            current_before=list(before.current),
            output=ended.tail,
        )
    msg = f"{'applied' if plan.up else 'undid'} {', '.join(one.revision for one in plan.steps)}; {_where(after)}"
    return {**_result(before, after, msg=msg), "changed": True, **plan.as_result(plan.steps)}


def _plan(schema: Schema, wanted: Wanted) -> _Plan:
    if wanted.state == "downgraded":
        target = schema.target_down(wanted.revision or "")
        undone = schema.above(target)
        refuse_irreversible(undone)
        return _Plan(up=False, targets=(target,), steps=tuple(undone), nothing=f"nothing above {target} is applied")
    if schema.ahead:
        return _Plan(up=True, targets=(), steps=(), nothing=f"{_where(schema)}; nothing was done")
    targets = schema.targets_up(wanted.revision)
    pending = schema.pending(targets)
    refuse_contract(pending, allow=wanted.allow_contract)
    return _Plan(
        up=True,
        targets=targets,
        steps=tuple(pending),
        nothing=f"{', '.join(targets) or 'an empty tree'} is applied already",
    )


def _failure(tool: Alembic, before: Schema, plan: _Plan, ended: Ended) -> BatonError:
    how = (
        f"ended with {ended.returncode}: {ended.headline}"
        if ended.returncode is not None
        else "did not end in time and was ended"
    )
    details: dict[str, typing.Any] = {"current_before": list(before.current), "output": ended.tail}
    try:
        now = tool.schema()
    except BatonError as error:
        reached = f"where the schema is now could not be read ({error})"
    else:
        reached = f"the schema is at {_at(now)}, it was at {_at(before)}"
        left = plan.left(now)
        details.update(current=list(now.current), **plan.as_result([one for one in plan.steps if one not in left]))
    return BatonError(
        found=f"the tool was to {plan} and {how}; {reached}",
        expected="every migration to succeed",
        fix=_advice(ended),
        **details,
    )


def _advice(ended: Ended) -> str:
    if ended.returncode is None:
        return "raise timeout or make the migration smaller, and run again; what was not committed is rolled back"
    if "lock timeout" in ended.output:
        return "another session uses the table: run again at a quieter time, or raise ddl_lock_timeout"
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
