# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The statistics of a watch, and the verdicts that follow from them."""

from __future__ import annotations

import json
import random

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.traffic import (
    Limits,
    Request,
    Slice,
    Tally,
    judge,
    nearest_rank,
    percentage,
    wilson_lower,
)
from ansible_collections.baton.release.plugins.module_utils.traffic_comparison import compare

LIMITS = Limits(max_error_rate=0.01, max_p95_ms=1000, min_requests=20)


def counted(*groups: tuple[int, str, float | None]) -> Slice:
    """Return a slice with so many requests of an outcome and a latency, group by group."""
    current = Slice(LIMITS.max_p95_ms)
    for number, outcome, ms in groups:
        for _ in range(number):
            current.add(Request(at=5.0, slot="green", status="200", outcome=outcome, ms=ms))
    return current


@pytest.mark.parametrize(
    ("errors", "requests", "lower"),
    [  # found by bisection: the rate p at which errors / requests - p = z * sqrt(p * (1 - p) / requests)
        (0, 0, 0.0),
        (0, 100, 0.0),
        (1, 1, 0.206549),
        (2, 3, 0.207660),
        (2, 50, 0.011039),
        (2, 56, 0.009849),
        (12, 240, 0.028830),
        (20, 1000, 0.012984),
        (50, 100, 0.403832),
        (100, 100, 0.963007),
    ],
)
def test_wilson_lower(errors: int, requests: int, lower: float) -> None:
    assert wilson_lower(errors, requests) == pytest.approx(lower, abs=1e-6)


@pytest.mark.parametrize(
    ("count", "percent", "value"),
    [(1, 95, 1), (2, 50, 1), (19, 95, 19), (20, 95, 19), (21, 95, 20), (100, 95, 95), (3, 50, 2)],
)
def test_nearest_rank(count: int, percent: int, value: int) -> None:
    assert nearest_rank(range(1, count + 1), percent) == value


def test_nearest_rank_of_nothing() -> None:
    assert nearest_rank([], 95) is None


@pytest.mark.parametrize(
    ("groups", "ended", "verdict"),
    [
        ([], True, "inconclusive"),
        ([(19, "ok", 5)], True, "inconclusive"),
        ([(20, "ok", 5)], True, "healthy"),
        ([(20, "ok", 5)], False, "healthy"),
        # errors: at least two, and certainly more than 1 %
        ([(1, "error", 5)], True, "inconclusive"),
        ([(1, "error", 5), (19, "ok", 5)], True, "healthy"),
        ([(2, "error", 5)], False, "breach"),
        ([(2, "error", 5), (48, "ok", 5)], False, "breach"),
        ([(2, "error", 5), (54, "ok", 5)], True, "healthy"),
        ([(12, "error", 5), (228, "ok", 5)], False, "breach"),
        ([(5, "error", 5), (295, "ok", 5)], True, "healthy"),
        # clients that went away are neither errors nor requests; answers cut off for an unknown reason are requests
        ([(30, "left", 5)], True, "inconclusive"),
        ([(30, "cut", None)], True, "healthy"),
        # latency: 19 of 20 may not be above the limit, at the end, or early with five times as many
        ([(19, "ok", 1000), (1, "ok", 1001)], True, "healthy"),
        ([(18, "ok", 5), (2, "ok", 1001)], True, "breach"),
        ([(18, "ok", 5), (2, "ok", 1001)], False, "healthy"),
        ([(17, "ok", 5), (2, "ok", 1001)], True, "inconclusive"),
        ([(93, "ok", 5), (6, "ok", 1001)], False, "healthy"),
        ([(94, "ok", 5), (6, "ok", 1001)], False, "breach"),
        ([(95, "ok", 5), (5, "ok", 1001)], True, "healthy"),
        # clients that gave up after too long make it slow, those that left soon do not make it fast
        ([(50, "left", 2000)], True, "breach"),
        ([(18, "ok", 5), (100, "left", 1), (2, "ok", 1001)], True, "breach"),
    ],
)
def test_verdict_of_a_slice(groups: list[tuple[int, str, float | None]], ended: bool, verdict: str) -> None:
    assert judge(counted(*groups), Tally(), LIMITS, slot="green", ended=ended)[0] == verdict


def test_a_breach_says_what_was_found_and_expected() -> None:
    failing = counted((12, "error", 5), (228, "ok", 5))
    assert judge(failing, Tally(), LIMITS, slot="green", ended=False)[1:] == (
        "12 of 240 requests (5.0 %) failed on green",
        "at most 1.0 %",
    )
    slow = counted((50, "ok", 1840.25))
    assert judge(slow, Tally(), LIMITS, slot="blue", ended=True)[1:] == (
        "a 95th percentile of 1840.25 ms on blue",
        "at most 1000 ms",
    )


def test_failures_spread_thinly_over_slices_breach_the_whole_watch() -> None:
    """Each slice alone is harmless; together they are certain."""
    before, verdicts = Tally(), []
    for _ in range(12):
        current = counted((3, "error", 5), (117, "ok", 5))
        verdicts.append(judge(current, before, LIMITS, slot="green", ended=True))
        before += current.tally
    assert verdicts[0][0] == "healthy"
    assert verdicts[-1][0] == "breach"
    assert verdicts[-1][1].endswith("failed on green since the watch began")


def test_few_requests_a_slice_become_conclusive_over_the_watch() -> None:
    before = counted((15, "ok", 5)).tally
    assert judge(counted((5, "ok", 5)), before, LIMITS, slot="green", ended=True)[0] == "healthy"


def test_merged_percentiles_are_within_the_promised_error() -> None:
    generator = random.Random(7)  # noqa: S311 - not a secret
    latencies = [generator.lognormvariate(3, 1.2) for _ in range(5000)]
    total = Tally()
    for start in range(0, 5000, 1000):
        part = counted(*((1, "ok", ms) for ms in latencies[start : start + 1000]))
        total = Tally.from_result(json.loads(json.dumps(total.as_result()))) + part.tally
    for percent in (50, 95):
        exact, estimated = nearest_rank(sorted(latencies), percent), total.percentile(percent)
        assert estimated == pytest.approx(exact, rel=0.026)
    assert len(total.histogram) < 300
    assert total.as_result()["max_ms"] == pytest.approx(max(latencies), abs=0.001)


@pytest.mark.parametrize("ms", [0.0001, 0.1, 0.10001, 1, 999.9, 86_400_000])
def test_a_single_latency_is_found_again(ms: float) -> None:
    assert counted((1, "ok", ms)).tally.percentile(95) == pytest.approx(ms, rel=0.026, abs=0.1)


def test_totals_survive_the_way_through_a_playbook() -> None:
    current = counted((3, "ok", 12.5), (1, "error", None), (1, "left", 4000), (2, "cut", None))
    current.tally.seconds = 1.5
    assert Tally.from_result(json.loads(json.dumps(current.tally.as_result()))) == current.tally


@pytest.mark.parametrize("totals", [{"requests": 1}, {"requests": "many"}, {**Tally().as_result(), "histogram": [1]}])
def test_foreign_totals_are_refused(totals: dict[str, object]) -> None:
    with pytest.raises(BatonError, match="totals"):
        Tally.from_result(totals)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0.0 %"), (0.01, "1.0 %"), (0.005, "0.5 %"), (0.0005, "0.05 %"), (0.12345, "12.3 %"), (1, "100.0 %")],
)
def test_percentage(share: float, text: str) -> None:
    assert percentage(share) == text


def pair(new: list[tuple[int, str, float | None]], live: list[tuple[int, str, float | None]]) -> tuple[str, str]:
    return compare("green", counted(*new), {"blue": counted(*live)}, LIMITS._replace(max_slowdown=2))


@pytest.mark.parametrize(
    ("new", "live", "found"),
    [
        # errors: at least two, and the intervals apart, although both are below the limit of 1 %
        ([(3, "error", 5), (497, "ok", 5)], [(9500, "ok", 5)], "3 of 500 requests (0.6 %) failed on green, and 0 of"),
        ([(1, "error", 5), (499, "ok", 5)], [(9500, "ok", 5)], ""),
        ([(3, "error", 5), (497, "ok", 5)], [(57, "error", 5), (9443, "ok", 5)], ""),
        ([(3, "error", 5), (497, "ok", 5)], [(19, "ok", 5)], ""),
        ([(3, "error", 5), (16, "ok", 5)], [(9500, "ok", 5)], ""),
        # latency: more than twice, and more than 100 ms
        ([(100, "ok", 250)], [(100, "ok", 120)], "a 95th percentile of 250 ms on green, and of 120 ms on blue"),
        ([(100, "ok", 240)], [(100, "ok", 120)], ""),
        ([(100, "ok", 99)], [(100, "ok", 5)], ""),
        ([(100, "ok", 101)], [(100, "ok", 5)], "a 95th percentile of 101 ms"),
        ([(99, "ok", 250)], [(100, "ok", 120)], ""),
        ([(100, "ok", 250)], [(99, "ok", 120)], ""),
        ([(100, "ok", 5)], [(100, "ok", 250)], ""),
    ],
)
def test_worse_than_what_is_live(
    new: list[tuple[int, str, float | None]], live: list[tuple[int, str, float | None]], found: str
) -> None:
    said = pair(new, live)
    assert said[0].startswith(found) if found else said == ("", "")


def test_with_nothing_beside_it_a_slot_is_not_compared() -> None:
    failing = counted((3, "error", 5), (497, "ok", 5))
    assert compare("green", failing, {}, LIMITS) == ("", "")
    slow = counted((100, "ok", 900))
    assert compare("green", slow, {"blue": counted((100, "ok", 5))}, LIMITS) == ("", "")
