# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What was counted of a slot's traffic, and what it says about that slot: arithmetic, no input or output."""

from __future__ import annotations

import math
import typing
from array import array
from collections import Counter
from dataclasses import dataclass, field

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["Limits", "Request", "Slice", "Tally", "judge", "nearest_rank", "percentage", "wilson", "wilson_lower"]

_Z = 1.959964  # 95 % of the normal distribution lie within so many standard deviations
_CERTAIN_ERRORS = 2
_EARLY = 5
"""So many times ``min_requests`` allow a verdict on the latency before the slice has ended."""

# Buckets of the histogram grow by 5 %: the geometric middle of a bucket is at most 2.5 % from any latency in it.
_GROWTH = 1.05
_SMALLEST_MS = 0.1


class Request(typing.NamedTuple):
    """One request as a balancer or a probe saw it.

    ``at`` is its end in seconds since 1970; ``slot`` is who answered, None when no slot is named; ``status`` is for
    people. ``outcome`` is ``ok``, ``error``, ``left`` (the client went away) or ``cut`` (an answer that ended early,
    for a reason nobody knows). ``ms`` is None where the time says nothing about the app.
    """

    at: float
    slot: typing.Optional[str]  # noqa: UP045 - a NamedTuple of Python 3.9 may be asked for its types at run time
    status: str
    outcome: str
    ms: typing.Optional[float]  # noqa: UP045 - as above


class Limits(typing.NamedTuple):
    """What a slot may do: a share of 0 to 1, milliseconds, and how many requests make a judgement."""

    max_error_rate: float
    max_p95_ms: float
    min_requests: int
    max_slowdown: float = 0.0
    """Times the 95th percentile of a slot that answers at the same time; 0 for no limit."""


@dataclass
class Tally:
    """Counts that can be added up over slices; ``histogram`` maps the number of a bucket to its latencies."""

    requests: int = 0
    errors: int = 0
    client_aborts: int = 0
    cut_off: int = 0
    max_ms: float = 0.0
    seconds: float = 0.0
    by_status: Counter[str] = field(default_factory=Counter)
    histogram: Counter[int] = field(default_factory=Counter)

    @classmethod
    def from_result(cls, result: typing.Mapping[str, typing.Any]) -> Tally:
        """Return the tally that ``as_result`` gave.

        Raises:
            BatonError: it is not one.
        """
        try:
            return cls(
                requests=int(result["requests"]),
                errors=int(result["errors"]),
                client_aborts=int(result["client_aborts"]),
                cut_off=int(result["cut_off"]),
                max_ms=float(result["max_ms"] or 0),
                seconds=float(result["seconds"]),
                by_status=Counter({str(status): int(count) for status, count in result["by_status"].items()}),
                histogram=Counter({int(bucket): int(count) for bucket, count in result["histogram"].items()}),
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
            raise BatonError(
                found="totals that this module did not return",
                expected="the value totals of the previous slice, unchanged",
                fix="pass it on as it was registered, or leave it out to begin a new watch",
            ) from None

    def __add__(self, other: Tally) -> Tally:
        """Return both together."""
        return Tally(
            requests=self.requests + other.requests,
            errors=self.errors + other.errors,
            client_aborts=self.client_aborts + other.client_aborts,
            cut_off=self.cut_off + other.cut_off,
            max_ms=max(self.max_ms, other.max_ms),
            seconds=self.seconds + other.seconds,
            by_status=self.by_status + other.by_status,
            histogram=self.histogram + other.histogram,
        )

    @property
    def error_rate(self) -> float:
        """The share of requests that failed, 0 to 1."""
        return self.errors / self.requests if self.requests else 0.0

    def percentile(self, percent: int) -> float | None:
        """Return that percentile in milliseconds, at most 2.5 % off (0.1 ms below 0.1 ms); None without any latency."""
        rank, passed = _rank(percent, sum(self.histogram.values())), 0
        for bucket in sorted(self.histogram):
            passed += self.histogram[bucket]
            if passed >= rank:
                return min(self.max_ms, _SMALLEST_MS * _GROWTH ** (bucket - 0.5 if bucket else 0))
        return None

    def as_result(self) -> dict[str, typing.Any]:
        """Return what a module says of it; ``from_result`` understands it."""
        return {
            "requests": self.requests,
            "errors": self.errors,
            "error_rate": round(self.error_rate, 6),
            "client_aborts": self.client_aborts,
            "cut_off": self.cut_off,
            "p50_ms": _rounded(self.percentile(50)),
            "p95_ms": _rounded(self.percentile(95)),
            "max_ms": _rounded(self.max_ms if self.histogram else None),
            "by_status": dict(sorted(self.by_status.items())),
            "seconds": round(self.seconds, 3),
            "histogram": {str(bucket): count for bucket, count in sorted(self.histogram.items())},
        }


class Slice:
    """A slice while it is counted: a tally, each latency for exact percentiles, and when the first error was."""

    def __init__(self, max_p95_ms: float) -> None:
        """Begin; latencies above ``max_p95_ms`` are counted apart, to judge the percentile at any moment."""
        self.tally = Tally()
        self.first_error_at: float | None = None
        self._limit = max_p95_ms
        self._latencies = array("d")
        self._slow = 0

    def add(self, request: Request) -> None:
        """Count one request of the slot.

        One whose client went away says nothing about errors. But that client has waited at least so long: where this
        is longer than allowed it counts as slow, or a slot that lets everybody give up would look fast.
        """
        tally, ms = self.tally, request.ms
        tally.by_status[request.status] += 1
        if request.outcome == "left":
            tally.client_aborts += 1
            ms = ms if ms is not None and ms > self._limit else None
        else:
            tally.requests += 1
            tally.cut_off += request.outcome == "cut"
        if request.outcome == "error":
            tally.errors += 1
            self.first_error_at = request.at if self.first_error_at is None else min(self.first_error_at, request.at)
        if ms is not None:
            self._add_latency(ms)

    def _add_latency(self, ms: float) -> None:
        self._latencies.append(ms)
        self._slow += ms > self._limit
        self.tally.max_ms = max(self.tally.max_ms, ms)
        bucket = math.ceil(math.log(ms / _SMALLEST_MS, _GROWTH)) if ms > _SMALLEST_MS else 0
        self.tally.histogram[bucket] += 1

    def too_slow(self, at_least: int) -> bool:
        """Whether there are ``at_least`` so many latencies, and their 95th percentile lies above the limit."""
        count = len(self._latencies)
        return count >= max(at_least, 1) and count - self._slow < _rank(95, count)

    def p95_ms(self) -> float | None:
        """Return the exact 95th percentile in milliseconds; None without any latency."""
        return _rounded(nearest_rank(sorted(self._latencies), 95))

    def as_result(self) -> dict[str, typing.Any]:
        """Return what a module says of it, with exact percentiles."""
        latencies = sorted(self._latencies)
        exact = {f"p{percent}_ms": _rounded(nearest_rank(latencies, percent)) for percent in (50, 95)}
        result = {**self.tally.as_result(), **exact}
        del result["histogram"]
        return result


def nearest_rank(ordered: typing.Sequence[float], percent: int) -> float | None:
    """Return the smallest of the ``ordered`` values that ``percent`` % of them do not exceed; None without any."""
    return ordered[_rank(percent, len(ordered)) - 1] if ordered else None


def wilson_lower(errors: int, requests: int) -> float:
    """Return the lower end of the 95 % Wilson interval for an error rate, 0 to 1: the true rate is hardly below it."""
    return wilson(errors, requests)[0]


def wilson(errors: int, requests: int) -> tuple[float, float]:
    """Return both ends of that interval; without requests it is 0 to 1."""
    if not requests:
        return 0.0, 1.0
    rate, square = errors / requests, _Z * _Z
    middle = rate + square / (2 * requests)
    spread = _Z * math.sqrt(rate * (1 - rate) / requests + square / (4 * requests * requests))
    bottom = 1 + square / requests
    return max(0.0, (middle - spread) / bottom), min(1.0, (middle + spread) / bottom)


def judge(current: Slice, before: Tally, limits: Limits, *, slot: str, ended: bool) -> tuple[str, str, str]:
    """Return the verdict, and for a breach what was found and what was expected.

    Args:
        current: the slice so far.
        before: everything that was counted before it in this watch.
        limits: what the slot may do.
        slot: its name, for the words.
        ended: whether the slice is over.

    Returns:
        ``breach`` as soon as it is certain; else ``healthy``, or ``inconclusive`` with too few requests over the whole
        watch.
    """
    whole = before + current.tally
    for tally, when in ((current.tally, ""), (whole, " since the watch began")):
        if tally.errors >= _CERTAIN_ERRORS and wilson_lower(tally.errors, tally.requests) > limits.max_error_rate:
            share = f"{tally.errors} of {tally.requests} requests ({percentage(tally.error_rate)})"
            return "breach", f"{share} failed on {slot}{when}", f"at most {percentage(limits.max_error_rate)}"
    if current.too_slow(limits.min_requests * (1 if ended else _EARLY)):
        slow = current.as_result()["p95_ms"]
        return "breach", f"a 95th percentile of {slow:g} ms on {slot}", f"at most {limits.max_p95_ms:g} ms"
    return ("healthy" if whole.requests >= limits.min_requests else "inconclusive"), "", ""


def percentage(share: float) -> str:
    """Return ``share`` (0 to 1) in words, with as many digits as it needs."""
    percent = round(share * 100, 4)
    return f"{percent:.1f} %" if percent >= 1 or percent == round(percent, 1) else f"{percent:.2g} %"


def _rank(percent: int, count: int) -> int:
    return max(1, -(-percent * count // 100))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
