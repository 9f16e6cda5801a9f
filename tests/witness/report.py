# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A verdict in words: what was seen, then each offending line of the ledger, then pass or fail."""

from __future__ import annotations

import collections
import datetime
import typing

from tests.witness.checker import Verdict, switches
from tests.witness.ledger import Ledger, MessageRecord, Record, SocketRecord

if typing.TYPE_CHECKING:
    from pathlib import Path

__all__ = ["report"]

MAX_SHOWN = 50

Shown = tuple[str, Record | SocketRecord | MessageRecord]


def report(ledger: Ledger, verdict: Verdict, path: Path) -> typing.Iterator[str]:
    """Yield the lines that tell ``verdict`` about ``ledger``, which is the file ``path``."""
    yield from _seen(ledger, verdict)
    yield from _offending(path, [("failed", record) for record in verdict.failed_by_release])
    yield from _offending(path, [("wrong version", record) for record in verdict.wrong_version])
    yield from _offending(path, [(fault.why, fault.record) for fault in verdict.socket_faults])
    yield from _offending(path, [("wrong version", record) for record in verdict.wrong_socket_version])
    yield "PASS" if verdict.ok else f"FAIL: {'; '.join(verdict.reasons)}"


def _seen(ledger: Ledger, verdict: Verdict) -> typing.Iterator[str]:
    seen = ledger.window(verdict.t0, verdict.t1)
    yield f"{verdict.requests} requests from {_clock(verdict.t0)} to {_clock(verdict.t1)}"
    for version, count in sorted(verdict.versions.items(), key=lambda item: item[1].first):
        yield (
            f"  {version or '(no version)'}: {count.requests} answers, {count.status_5xx} of them 5xx,"
            f" from {_clock(count.first)} to {_clock(count.last)}"
        )
    for switch in switches(seen):
        yield f"  {switch.before} -> {switch.after} at {_clock(switch.began)}, settled at {_clock(switch.settled)}"
    if verdict.latency is not None:
        times = verdict.latency
        yield f"  p50 {times.p50:.1f} ms, p95 {times.p95:.1f} ms, p99 {times.p99:.1f} ms, max {times.max:.1f} ms"
    yield f"  longest time without a success: {verdict.gap.seconds:.3f} s, from {_clock(verdict.gap.start)}"
    yield from _lasting(seen)
    yield f"  failed by the release: {len(verdict.failed_by_release)}"
    yield f"  failed by the bad version: {len(verdict.failed_by_bad_version)}"
    if ledger.torn:
        yield "  the last line was torn and is left out"


def _lasting(seen: Ledger) -> typing.Iterator[str]:
    downloads = [record for record in seen if record.kind == "slow"]
    if downloads:
        seconds = max(record.ms for record in downloads) / 1000
        yield f"  {len(downloads)} downloads of up to {max(one.body_bytes for one in downloads)} bytes and {seconds:.1f} s"
    if seen.sockets:
        seconds = max(socket.ms for socket in seen.sockets) / 1000
        opened = collections.Counter(socket.version or "(no version)" for socket in seen.sockets)
        by = ", ".join(f"{count} to {version}" for version, count in sorted(opened.items()))
        sent = sum(socket.sent for socket in seen.sockets)
        yield f"  {len(seen.sockets)} WebSockets ({by}) of up to {seconds:.1f} s, {len(seen.messages)} answers to {sent} messages"


def _offending(path: Path, shown: list[Shown]) -> typing.Iterator[str]:
    for why, record in shown[:MAX_SHOWN]:
        yield f"{why}: {path}:{record.line}: {record.as_json()}"
    if len(shown) > MAX_SHOWN:
        yield f"and {len(shown) - MAX_SHOWN} more"


def _clock(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, tz=datetime.UTC).strftime("%H:%M:%S.%f")[:-3]
