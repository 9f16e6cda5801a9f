# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The judgement, as tables over small ledgers."""

from __future__ import annotations

import pytest

from tests.witness.checker import (
    Gap,
    Latency,
    Mixed,
    Switch,
    VersionCount,
    by_version,
    failures,
    is_failure,
    judge,
    latency,
    longest_gap,
    longest_silence,
    mixed_window,
    stale,
    switches,
)
from tests.witness.ledger import Ledger, Record


def seen(
    start: float, version: str | None = "v1", status: int | None = 200, error: str | None = None, *, lasts: float = 0.01
) -> Record:
    """Return the record of one request."""
    return Record(
        start=start,
        end=start + lasts,
        ms=lasts * 1000,
        method="GET",
        path="/",
        kind="fresh",
        connection=1,
        nth=1,
        status=status,
        error=error,
        version=version,
        instance=None,
        slot=None,
    )


def served(*versions: str, step: float = 0.1) -> list[Record]:
    """Return one good answer each ``step`` seconds from the given versions."""
    return [seen(number * step, version) for number, version in enumerate(versions)]


@pytest.mark.parametrize(
    ("status", "error", "failed"),
    [
        (200, None, False),
        (204, None, False),
        (302, None, False),
        (404, None, True),
        (409, None, False),
        (500, None, True),
        (503, None, True),
        (200, "truncated-body: one byte short", True),
        (None, "refused: no", True),
        (None, None, True),
    ],
)
def test_what_counts_as_a_failure(status: int | None, error: str | None, failed: bool) -> None:
    record = seen(1, status=status, error=error)

    assert is_failure(record, allow_4xx=[409]) == failed
    assert failures([record, seen(2)], allow_4xx=[409]) == ([record] if failed else [])


def test_counts_by_version() -> None:
    records = [
        seen(1.0, "v1"),
        seen(2.0, "v2", 500),
        seen(3.0, "v1", 404),
        seen(4.0, "v1", error="truncated-body: x"),
        seen(5.0, None, 503),
        seen(6.0, None, None, "refused: x"),
    ]

    assert by_version(records) == {
        "v1": VersionCount(requests=3, status_5xx=0, failed=2, first=1.01, last=4.01),
        "v2": VersionCount(requests=1, status_5xx=1, failed=1, first=2.01, last=2.01),
        None: VersionCount(requests=1, status_5xx=1, failed=1, first=5.01, last=5.01),
    }


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param(served("v1", "v1"), [], id="no change"),
        pytest.param(
            [seen(1, None, 503), seen(2), seen(3, None, None, "refused: x")], [], id="no version is no change"
        ),
        pytest.param(served("v1", "v2", "v2", step=1), [Switch("v1", "v2", 1, 1, 1)], id="atomic"),
        pytest.param(served("v1", "v2", "v1", "v2", step=1), [Switch("v1", "v2", 1, 3, 3)], id="mixed for two seconds"),
        pytest.param(
            served("v1", "v2", "v2", "v1", step=2),
            [Switch("v1", "v2", 2, 2, 1), Switch("v2", "v1", 6, 6, 1)],
            id="there and back",
        ),
        pytest.param(served("v1", "v2", "v1", step=1), [Switch("v1", "v1", 1, 2, 2)], id="only for a moment"),
        pytest.param(
            [seen(3, "v2"), seen(1), seen(2, lasts=5)], [Switch("v1", "v2", 3, 3, 1)], id="slow old answer ends last"
        ),
    ],
)
def test_switches(records: list[Record], expected: list[Switch]) -> None:
    assert switches(records) == expected


def test_answers_of_the_old_version_after_a_moment() -> None:
    in_flight, late = seen(1, lasts=9), seen(3)

    assert stale([in_flight, late, seen(4, "v2")], old="v1", since=2) == [late]


@pytest.mark.parametrize(
    ("records", "expected", "seconds"),
    [
        pytest.param(served("v1", "v1"), None, 0, id="new one missing"),
        pytest.param(served("v2"), None, 0, id="old one missing"),
        pytest.param([seen(1), seen(2, "v2", lasts=1)], Mixed(3, 1, 0), 0, id="clean"),
        pytest.param([seen(1, lasts=9), seen(2, "v2", lasts=1)], Mixed(3, 1, 0), 0, id="in flight proves nothing"),
        pytest.param([seen(2, "v2", lasts=1), seen(2.5)], Mixed(3, 2.5, 0), 0, id="at the same time proves nothing"),
        pytest.param([seen(2, "v2", lasts=1), seen(4), seen(5)], Mixed(3, 5, 2), 2, id="mixed"),
    ],
)
def test_mixed_window(records: list[Record], expected: Mixed | None, seconds: float) -> None:
    mixed = mixed_window(records, old="v1", new="v2")

    assert mixed == expected
    assert mixed is None or mixed.seconds == seconds


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], None),
        ([7], Latency(7, 7, 7, 7)),
        (range(1, 101), Latency(50, 95, 99, 100)),
        (range(1, 11), Latency(5, 10, 10, 10)),
    ],
)
def test_latency_is_by_nearest_rank(times: list[int], expected: Latency | None) -> None:
    records = [seen(1, lasts=ms / 1000) for ms in reversed(times)]

    assert latency([*records, seen(1, error="timeout: x", lasts=5)]) == expected


def test_the_longest_time_without_success_counts_the_ends_of_the_window_too() -> None:
    records = [seen(1, lasts=0), seen(2, status=500, lasts=0), seen(4, lasts=0)]

    assert longest_gap(records, 0.5, 4.5) == Gap(1, 4)
    assert longest_silence(records, 0.5, 4.5) == Gap(2, 4)
    assert longest_gap(records, 0, 9) == Gap(4, 9)
    assert longest_gap(records, -5, 5) == Gap(-5, 1)
    assert longest_gap([], 1, 3).seconds == 2


REFUSED = seen(1.0, None, None, "refused: x")
OWN_500 = seen(1.1, "bad", 500)
BALANCER_503 = seen(1.2, None, 503)
CUT_500 = seen(1.3, "bad", 500, "truncated-body: x")
OTHER_500 = seen(1.4, "v1", 500)
BAD_404 = seen(1.5, "bad", 404)


@pytest.mark.parametrize(
    ("allowed", "by_bad"),
    [(None, []), ("bad", [OWN_500]), ("v1", [OTHER_500]), ("other", [])],
)
def test_failures_are_charged_to_the_bad_version_only_where_it_answered_itself(
    allowed: str | None, by_bad: list[Record]
) -> None:
    failed = [REFUSED, OWN_500, BALANCER_503, CUT_500, OTHER_500, BAD_404]

    verdict = judge(Ledger((seen(0.5), *failed, seen(2.0))), allow_5xx_of=allowed)

    assert verdict.failed_by_bad_version == by_bad
    assert verdict.failed_by_release == [record for record in failed if record not in by_bad]
    assert verdict.requests == 8
    assert not verdict.ok


def test_a_step_with_only_the_bad_versions_own_errors_passes() -> None:
    verdict = judge(Ledger((seen(1.0), OWN_500, seen(1.9))), 1.0, 2.0, allow_5xx_of="bad", expect_versions=["v1"])

    assert verdict.ok
    assert verdict.versions["bad"].first == verdict.versions["bad"].last == OWN_500.end
    assert (verdict.t0, verdict.t1, verdict.requests) == (1.0, 2.0, 3)


@pytest.mark.parametrize(
    ("records", "t0", "t1", "reason"),
    [
        pytest.param([], None, None, "no request was made", id="empty"),
        pytest.param([seen(1)], 5, 6, "no request was made", id="nothing in the window"),
        pytest.param([seen(1), seen(9)], None, None, "silent for 8.000 s", id="silent in between"),
        pytest.param([seen(1), seen(2)], 1, 9, "silent for 7.000 s", id="ended too early"),
        pytest.param([seen(1), seen(2), OTHER_500], None, None, "1 requests failed", id="failed"),
        pytest.param([seen(0.5, lasts=1, status=502)], 1, 2, "1 requests failed", id="in flight at the begin"),
        pytest.param([seen(1.5, lasts=9, status=502)], 1, 2, "1 requests failed", id="in flight at the end"),
        pytest.param([seen(1, "v2")], None, None, "not expected", id="wrong version"),
        pytest.param([seen(1, None)], None, None, "not expected", id="without a version"),
    ],
)
def test_a_step_does_not_pass(records: list[Record], t0: float | None, t1: float | None, reason: str) -> None:
    verdict = judge(Ledger(tuple(records)), t0, t1, expect_versions=["v1"])

    assert not verdict.ok
    assert reason in "; ".join(verdict.reasons)


def test_what_failed_outside_the_window_is_not_charged() -> None:
    assert judge(Ledger((OTHER_500, seen(2.0), seen(3.0), seen(4.0, status=500))), 1.5, 3.5).ok
