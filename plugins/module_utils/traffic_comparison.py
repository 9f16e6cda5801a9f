# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Two slots that answer at the same time, one judged by the other: what is worse there is the version's doing, and nobody else's."""

from __future__ import annotations

import typing

from ansible_collections.baton.release.plugins.module_utils.traffic import Limits, Slice, percentage, wilson

__all__ = ["compare"]

_CERTAIN_ERRORS = 2
_MANY = 5
"""So many times ``min_requests`` make a 95th percentile that can be compared with another one."""
_NOTICED = 10
"""A 95th percentile below the limit divided by this is fast, whatever the other slot does."""


def compare(slot: str, current: Slice, others: typing.Mapping[str, Slice], limits: Limits) -> tuple[str, str]:
    """Return for a slot that does worse than another one what was found and what was expected; else two empty texts.

    It does worse when its error rate is higher and the 95 % intervals of both do not meet, or when its 95th percentile is more than
    ``limits.max_slowdown`` times that of the other (0: never). A slot with less than ``limits.min_requests`` is not compared, and its
    latency not with less than five times as many.
    """
    for name, other in others.items():
        own, its = current.tally, other.tally
        if min(own.requests, its.requests) < max(limits.min_requests, 1):
            continue
        if own.errors >= _CERTAIN_ERRORS and wilson(own.errors, own.requests)[0] > wilson(its.errors, its.requests)[1]:
            return (
                f"{own.errors} of {own.requests} requests ({percentage(own.error_rate)}) failed on {slot}, and "
                f"{its.errors} of {its.requests} ({percentage(its.error_rate)}) on {name} at the same time"
            ), f"no more than on {name}"
        slow, usual = current.p95_ms(), other.p95_ms()
        too_few = min(own.requests, its.requests) < _MANY * limits.min_requests
        if slow is None or usual is None or too_few or not limits.max_slowdown:
            continue
        if slow > max(usual * limits.max_slowdown, limits.max_p95_ms / _NOTICED):
            return (
                f"a 95th percentile of {slow:g} ms on {slot}, and of {usual:g} ms on {name} at the same time"
            ), f"at most {limits.max_slowdown:g} times that of {name}"
    return "", ""
