# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The judgement: pure functions over the records of a ledger. All times are Unix seconds."""

from __future__ import annotations

import dataclasses
import itertools
import math
import typing

from tests.witness.ledger import Ledger, MessageRecord, Record, SocketRecord
from tests.witness.socket_checker import SocketFault, socket_faults, wrong_socket_versions

__all__ = [
    "Gap",
    "Latency",
    "Mixed",
    "Switch",
    "Verdict",
    "VersionCount",
    "by_version",
    "failures",
    "is_failure",
    "judge",
    "latency",
    "longest_gap",
    "longest_silence",
    "mixed_window",
    "stale",
    "switches",
]

SETTLE_SECONDS = 1.0
MAX_SILENCE_SECONDS = 2.0

Records = typing.Iterable[Record]


@dataclasses.dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of time."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start


@dataclasses.dataclass(frozen=True, slots=True)
class VersionCount:
    """What one version answered; ``first`` and ``last`` are the ends of its first and last answer."""

    requests: int
    status_5xx: int
    failed: int
    first: float
    last: float


@dataclasses.dataclass(frozen=True, slots=True)
class Switch:
    """A change of the served version, dated by the starts of the first and last request between which answers changed.

    An atomic switch has ``flips`` 1, or a few more within milliseconds where requests overtook each other; a rolling
    update or a canary is one long switch. ``before`` equals ``after`` where another version answered only for a moment.
    """

    before: str
    after: str
    began: float
    settled: float
    flips: int


@dataclasses.dataclass(frozen=True, slots=True)
class Mixed:
    """How long two versions answered side by side: until the last request was started that still got the old one."""

    first_new: float
    last_old: float
    stale: int

    @property
    def seconds(self) -> float:
        """Zero where no request begun after the first new answer got the old version."""
        return max(0.0, self.last_old - self.first_new)


@dataclasses.dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of the requests that were answered whole; downloads are slow on purpose and left out."""

    p50: float
    p95: float
    p99: float
    max: float


def is_failure(record: Record, *, allow_4xx: typing.Collection[int] = ()) -> bool:
    """Tell whether a client was let down: any error, any 5xx, or a 4xx that is not in ``allow_4xx``."""
    if record.error is not None or record.status is None:
        return True
    return record.status >= 500 or (record.status >= 400 and record.status not in allow_4xx)


def failures(records: Records, *, allow_4xx: typing.Collection[int] = ()) -> list[Record]:
    """Return the failed requests; for those of a window pass ``ledger.window(t0, t1)``."""
    return [record for record in records if is_failure(record, allow_4xx=allow_4xx)]


def by_version(records: Records, *, allow_4xx: typing.Collection[int] = ()) -> dict[str | None, VersionCount]:
    """Count the requests that got a status by the version that answered (None: the answer named none)."""
    groups: dict[str | None, list[Record]] = {}
    for record in records:
        if record.status is not None:
            groups.setdefault(record.version, []).append(record)
    return {
        version: VersionCount(
            requests=len(group),
            status_5xx=sum(_is_5xx(record) for record in group),
            failed=len(failures(group, allow_4xx=allow_4xx)),
            first=min(record.end for record in group),
            last=max(record.end for record in group),
        )
        for version, group in groups.items()
    }


def _is_5xx(record: Record) -> bool:
    return record.status is not None and record.status >= 500


def switches(records: Records, *, settle: float = SETTLE_SECONDS) -> list[Switch]:
    """Return the changes of the served version in order of time; those within ``settle`` seconds of another are one."""
    answers = sorted((record.start, record.version) for record in records if record.version is not None)
    flips = [
        Switch(before, after, start, start, 1)
        for (_, before), (start, after) in itertools.pairwise(answers)
        if before != after
    ]
    merged: list[Switch] = []
    for flip in flips:
        if merged and flip.began - merged[-1].settled <= settle:
            last = merged[-1]
            merged[-1] = Switch(last.before, flip.after, last.began, flip.settled, last.flips + 1)
        else:
            merged.append(flip)
    return merged


def stale(records: Records, *, old: str, since: float) -> list[Record]:
    """Return the requests started after ``since`` that the ``old`` version answered nevertheless."""
    return [record for record in records if record.version == old and record.start > since]


def mixed_window(records: Records, *, old: str, new: str) -> Mixed | None:
    """Return the time from the first answer of ``new`` to the last request that ``old`` answered; None without both.

    A request that was in flight while the switch happened proves nothing, so only starts after a seen new answer count.
    Pass a window that holds one change in one direction.
    """
    records = list(records)
    new_ends = [record.end for record in records if record.version == new]
    old_starts = [record.start for record in records if record.version == old]
    if not new_ends or not old_starts:
        return None
    first_new = min(new_ends)
    return Mixed(first_new, max(old_starts), len(stale(records, old=old, since=first_new)))


def latency(records: Records) -> Latency | None:
    """Return the percentiles (nearest rank) over the requests without error, downloads aside; None if there are none."""
    times = sorted(record.ms for record in records if record.error is None and record.kind != "slow")
    if not times:
        return None

    def rank(percent: int) -> float:
        return times[math.ceil(len(times) * percent / 100) - 1]

    return Latency(rank(50), rank(95), rank(99), times[-1])


def longest_gap(records: Records, t0: float, t1: float, *, allow_4xx: typing.Collection[int] = ()) -> Gap:
    """Return the longest time within [``t0``, ``t1``] in which no request succeeded."""
    return _longest(t0, t1, (record.end for record in records if not is_failure(record, allow_4xx=allow_4xx)))


def longest_silence(records: Records, t0: float, t1: float) -> Gap:
    """Return the longest time within [``t0``, ``t1``] without a request started: there the witness saw nothing."""
    return _longest(t0, t1, (record.start for record in records))


def _longest(t0: float, t1: float, moments: typing.Iterable[float]) -> Gap:
    points = [t0, *sorted(moment for moment in moments if t0 < moment < t1), t1]
    return max((Gap(start, end) for start, end in itertools.pairwise(points)), key=lambda gap: gap.seconds)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One step judged; ``reasons`` says why it does not pass, and is empty when it does."""

    t0: float
    t1: float
    requests: int
    failed_by_release: list[Record]
    failed_by_bad_version: list[Record]
    wrong_version: list[Record]
    versions: dict[str | None, VersionCount]
    latency: Latency | None
    gap: Gap
    silence: Gap
    websockets: int
    messages: int
    socket_faults: list[SocketFault]
    wrong_socket_version: list[SocketRecord | MessageRecord]
    reasons: list[str]

    @property
    def ok(self) -> bool:
        """Whether the step passes."""
        return not self.reasons


def judge(
    ledger: Ledger,
    t0: float | None = None,
    t1: float | None = None,
    *,
    allow_5xx_of: str | None = None,
    expect_versions: typing.Collection[str] = (),
    allow_4xx: typing.Collection[int] = (),
    max_silence: float = MAX_SILENCE_SECONDS,
    whole: bool = False,
) -> Verdict:
    """Judge what was in flight at any time in [``t0``, ``t1``] (default: from the first start to the last).

    A 5xx that ``allow_5xx_of`` itself answered whole is the bad version's; every other failure is the release's. Where
    ``expect_versions`` are given, each answer must come from one of them (or from ``allow_5xx_of``). A window in which
    the witness was silent for more than ``max_silence`` seconds does not pass: nothing seen is not nothing wrong. With
    ``whole`` the ledger must have its last line, and hold as much as that says.
    """
    starts = [*(record.start for record in ledger), *(socket.start for socket in ledger.sockets)]
    t0 = min(starts, default=0.0) if t0 is None else t0
    t1 = max(starts, default=t0) if t1 is None else t1
    seen = ledger.window(t0, t1)
    failed = failures(seen, allow_4xx=allow_4xx)
    by_bad = [record for record in failed if _is_5xx_of(record, allow_5xx_of)]
    by_release = [record for record in failed if not _is_5xx_of(record, allow_5xx_of)]
    expected = {*expect_versions, *([allow_5xx_of] if allow_5xx_of else [])} if expect_versions else None
    wrong = [
        record
        for record in seen
        if expected is not None and not is_failure(record, allow_4xx=allow_4xx) and record.version not in expected
    ]
    silence = longest_silence(seen, t0, t1)
    faults = [fault for fault in socket_faults(seen) if not _is_5xx_of(fault.record, allow_5xx_of)]
    wrong_sockets = [] if expected is None else wrong_socket_versions(seen, expected)
    reasons = [*(_incomplete(ledger) if whole else [])]
    if not seen.records:
        reasons.append("no request was made")
    elif silence.seconds > max_silence:
        reasons.append(f"the witness was silent for {silence.seconds:.3f} s, more than {max_silence:g} s")
    if by_release:
        reasons.append(f"{len(by_release)} requests failed")
    if wrong:
        reasons.append(f"{len(wrong)} answers came from a version that was not expected")
    if faults:
        reasons.append(f"{len(faults)} faults of WebSockets")
    if wrong_sockets:
        reasons.append(f"{len(wrong_sockets)} WebSockets or their messages had a version that was not expected")
    return Verdict(
        t0=t0,
        t1=t1,
        requests=len(seen),
        failed_by_release=by_release,
        failed_by_bad_version=by_bad,
        wrong_version=wrong,
        versions=by_version(seen, allow_4xx=allow_4xx),
        latency=latency(seen),
        gap=longest_gap(seen, t0, t1, allow_4xx=allow_4xx),
        silence=silence,
        websockets=len(seen.sockets),
        messages=len(seen.messages),
        socket_faults=faults,
        wrong_socket_version=wrong_sockets,
        reasons=reasons,
    )


def _incomplete(ledger: Ledger) -> typing.Iterator[str]:
    if ledger.end is None:
        yield "the ledger has no last line: its client did not end in good order"
        return
    counted = (ledger.end.requests, ledger.end.websockets, ledger.end.messages)
    held = (len(ledger.records), len(ledger.sockets), len(ledger.messages))
    if held != counted:
        yield f"the ledger holds {held} requests, WebSockets and messages, and its last line counts {counted}"


def _is_5xx_of(record: Record | SocketRecord | MessageRecord, version: str | None) -> bool:
    if version is None or isinstance(record, MessageRecord):
        return False
    return record.error is None and record.version == version and record.status is not None and record.status >= 500
