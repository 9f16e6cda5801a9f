# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""One change of the schema by the app's own tool, under the lock: made, noted, and believed only when the database shows it."""

from __future__ import annotations

import time
import typing
from dataclasses import dataclass, replace

from ansible_collections.baton.release.plugins.module_utils import migration_log
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_advice import advice, difference, waited_in_vain
from ansible_collections.baton.release.plugins.module_utils.migration_interface import reading_ahead
from ansible_collections.baton.release.plugins.module_utils.migration_kinds import POSTGRESQL, kind_of
from ansible_collections.baton.release.plugins.module_utils.migration_locks import look_out_for
from ansible_collections.baton.release.plugins.module_utils.migration_quiet import await_quiet
from ansible_collections.baton.release.plugins.module_utils.rehearsal_change import CONTRACT

if typing.TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.baton.release.plugins.module_utils.migration_advice import Objects
    from ansible_collections.baton.release.plugins.module_utils.migration_interface import Tool
    from ansible_collections.baton.release.plugins.module_utils.migration_lock import LockSession
    from ansible_collections.baton.release.plugins.module_utils.migration_lookout import Blocker
    from ansible_collections.baton.release.plugins.module_utils.migration_plan import Revision, Schema, Way
    from ansible_collections.baton.release.plugins.module_utils.migration_quiet import Lock
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Ended

__all__ = ["Change", "Made", "seen"]

_LONGEST_PAUSE = 30.0  # seconds


class _Gone(typing.NamedTuple):
    """How the tool ended at last, after how many ``timeouts`` it was tried again, and who kept it waiting."""

    ended: Ended
    timeouts: int
    blockers: list[Blocker]


class Made(typing.NamedTuple):
    """What a change has brought: the schema ``after`` it, how often it waited for a table in vain, and indexes that are of no use."""

    after: Schema
    lock_timeouts: int
    invalid_indexes: list[str]
    lock_kept: bool
    """Whether the session that holds the lock was there until the end."""


@dataclass(frozen=True)
class Change:
    """The steps of a way, with the phases that were measured; ``last`` is the attempt before, where that did not end well."""

    tool: Tool
    way: Way
    steps: typing.Sequence[Revision]
    session: LockSession
    state_dir: Path
    last: migration_log.Attempt | None
    locks: typing.Sequence[Lock] = ()
    """What it is known to lock: tables, each with the mode."""
    patience: float = 0.0
    """Seconds to wait, before it is begun, for transactions that hold that."""

    def make(self, *, token: int | None, retries: int, timeout: float) -> Made:
        """Go the whole way and note it.

        Args:
            token: the lease under which this happens.
            retries: how often to try again what waited for a table in vain.
            timeout: seconds in which all of that is to be done; none is begun that would begin after them.

        Raises:
            BatonError: with the revision that was reached, when something was begun.
        """
        was = self.session.objects()
        self._refuse_without_lock()
        with reading_ahead(self.tool):
            migration_log.begin(self.state_dir, str(self.way), self._noted(self.steps), token=token)
            try:
                gone = self._run(retries, time.monotonic() + timeout)
            except BatonError:
                self._end(None, ())  # refused, and not begun
                raise
            if gone.ended.returncode != 0:
                raise self._failure(gone, was)
            after, invalid = self.tool.schema(), self.session.invalid_indexes()
        self._refuse_other_end(after, gone.ended)
        self._end(None, self.steps)
        return Made(after, gone.timeouts, invalid, self.session.held())

    def _refuse_without_lock(self) -> None:
        """Refuse to begin when the lock was lost while the schema was read, which may take a minute."""
        if not self.session.held():
            raise BatonError(
                found="the migration lock, which was lost before anything was begun: its session has ended, or its file is gone",
                expected="to be the only migration of this database until the end; nothing was changed",
                fix="see who ends sessions of the database, or removes that file, and run again",
            )

    def _run(self, retries: int, deadline: float) -> _Gone:
        """Go the way, and what is left of it again where it has waited for a table in vain.

        Raises:
            BatonError: refused, and not begun.
        """
        await_quiet(lambda age: self.session.holders(self.locks, age), self.patience)
        useless = set(self.session.invalid_indexes())
        kind = self._kind
        gone = self._attempt(self.way)
        for timeouts in range(retries):
            pause = min(2**timeouts, _LONGEST_PAUSE)
            # An index that was given up half-built is in the way of the next attempt, and only a person should remove it.
            half_built = not useless.issuperset(self.session.invalid_indexes())
            if not waited_in_vain(kind, gone.ended) or half_built or time.monotonic() + pause >= deadline:
                break
            # In between the app gets its table.
            time.sleep(pause)
            if not self.session.held():
                break
            try:
                now = self.tool.schema()
                left = self.way.left(now)
                if not left or not self._may_be_repeated(left[0]):
                    break
                again = self._attempt(replace(self.way, before=now, steps=tuple(left)))
            except BatonError:
                # Something is begun, so what is said is how that ended.
                break
            gone = again._replace(timeouts=timeouts + 1)
        return gone

    @property
    def _kind(self) -> str:
        return kind_of(self.tool.surroundings.url)

    def _may_be_repeated(self, failed: Revision) -> bool:
        """Say whether nothing of the migration that failed can be there already, rows that it has added included."""
        return self._kind == POSTGRESQL or (self.way.up and failed.whole)

    def _attempt(self, way: Way) -> _Gone:
        with look_out_for(self.tool.surroundings) as blockers:
            ended = self.tool.up(way, self.session) if way.up else self.tool.down(way, self.session)
        return _Gone(ended, 0, blockers if waited_in_vain(self._kind, ended) else [])

    def _refuse_other_end(self, after: Schema, ended: Ended) -> None:
        """Refuse to believe a tool that says it succeeded when the database says otherwise."""
        left, besides = self.way.left(after), self.way.besides(after)
        if not left and not besides:
            return
        also = f" and it changed {', '.join(besides)} as well" if besides else ""
        done = self._done(after)
        self._end("ended with another schema than planned", done)
        raise BatonError(
            found=f"the tool reported success, but the schema is at {after.at}{also}",
            expected=f"to {self.way}, and nothing else",
            fix="look at the app's configuration of the tool: it may migrate another database than the one it is read from, not commit,"
            " or do more than it was told to",
            current=list(after.current),
            current_before=list(self.way.before.current),
            output=ended.tail,
            **self.way.as_result(done),
        )

    def _failure(self, gone: _Gone, was: Objects) -> BatonError:
        """Note what is done in spite of the failure, and return what to say of it."""
        ended = gone.ended
        invalid, objects = self.session.invalid_indexes(), self.session.objects()
        stands = difference(was, objects)
        details: dict[str, typing.Any] = {"current_before": list(self.way.before.current), "output": ended.tail}
        try:
            now = self.tool.schema()
        except BatonError as error:
            self._end(_how(ended), None)
            reached = f"where the schema is now could not be read ({error})"
        else:
            done = self._done(now)
            self._end(_how(ended), done)
            reached = f"the schema is at {now.at}, it was at {self.way.before.at}"
            details.update(current=list(now.current), **self.way.as_result(done))
        told = [reached]
        told += [f"it was tried {gone.timeouts + 1} times"] if gone.timeouts else []
        told += [str(one) for one in gone.blockers]
        told += [] if self.session.held() else ["the session that held the migration lock has ended meanwhile"]
        unseen = self._kind != POSTGRESQL and (was is None or objects is None)
        told += ["what of it stands in the schema could not be read"] if unseen else []
        told += [f"before, {self.last}"] if self.last else []
        told += [f"invalid indexes: {', '.join(invalid)}"] if invalid else []
        return BatonError(
            found=f"the tool was to {self.way} and {_how(ended)}; {'; '.join(told)}",
            expected="every migration to succeed",
            fix=self.tool.advice(ended)
            or advice(self._kind, ended, gone.blockers, failed_before=bool(self.last), invalid=invalid, stands=stands),
            stands=stands,
            invalid_indexes=invalid,
            blockers=[one.as_result() for one in gone.blockers],
            lock_timeouts=gone.timeouts + waited_in_vain(self._kind, ended),
            **details,
            last_attempt=str(self.last or ""),
        )

    def _done(self, now: Schema) -> list[Revision]:
        waiting = {one.revision for one in self.way.left(now)}
        return [one for one in self.steps if one.revision not in waiting]

    def _end(self, how: str | None, done: typing.Sequence[Revision] | None) -> None:
        migration_log.end(self.state_dir, how, None if done is None else self._noted(done))

    def _noted(self, steps: typing.Sequence[Revision]) -> migration_log.Steps:
        names = [one.revision for one in steps]
        contract = [one.revision for one in steps if one.phase == CONTRACT]
        return migration_log.Steps(names, contract) if self.way.up else migration_log.Steps(undone=names)


def seen(steps: migration_log.Steps, schema: Schema) -> migration_log.Steps | None:
    """Return what of ``steps`` the database shows to be done; None where this tree cannot tell."""
    if schema.ahead and schema.done is None:
        return None
    there = {one.revision for one in schema.applied()}.union(schema.ahead)
    return migration_log.Steps(
        [one for one in steps.applied if one in there],
        [one for one in steps.contract if one in there],
        [one for one in steps.undone if one not in there],
    )


def _how(ended: Ended) -> str:
    if ended.returncode is None:
        return "did not end in time and was ended"
    return f"ended with {ended.returncode}: {ended.headline}"
