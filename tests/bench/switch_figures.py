"""One load balancer measured under a storm of clients: nothing at first, then switches, then reloads."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.storm import AGAIN, FAILED, FRESH, Asked
from tests.bench.storm_scene import SCENES, App, Programs, Storm

__all__ = ["RELOADS", "SWITCHES", "Figure", "How", "Phase", "figure_of", "measure"]

SWITCHES, RELOADS = "switches", "reloads"
LEAST_RATE = 500.0
"""Requests a second; with fewer nothing is proven."""
WARM_SECONDS = 2.0


@dataclass(frozen=True)
class How:
    """How it is measured; seconds."""

    actions: int = 20
    pause: float = 1.5
    """From the end of an action to the beginning of the next one."""
    quiet: float = 5.0
    """Before the first one: what the rest is compared to."""
    rate: float = 600.0
    """Requests a second, half of them over fresh connections."""
    processes: int = 2
    """Of clients of each kind."""


@dataclass(frozen=True)
class Action:
    """A switch or a reload; times of the monotonic clock."""

    begin: float
    end: float
    live: str
    """The slot that is live from its end on."""


@dataclass
class Phase:
    """A part of the storm in which the same was done again and again."""

    what: str
    begin: float
    end: float = 0.0
    actions: list[Action] = field(default_factory=list)


@dataclass(frozen=True)
class Figure:
    """What came of one phase; milliseconds where it says nothing else."""

    scene: str
    what: str
    actions: int
    seconds_each: float
    """Of a switch or a reload, median."""
    requests: int
    fresh: int
    rate: float
    failed: int
    again: int
    stale: int
    """Requests that began after a switch had ended, and before the next one, and that the other slot answered."""
    before: tuple[float, float]
    """Median and 99th percentile while nothing was done."""
    during: tuple[float, float]
    skew: tuple[float, float] | None
    """From the first answer of the new slot to the last one of the old one, median and longest; None where nothing is switched."""
    reasons: tuple[str, ...]
    """Of what has failed, a few."""

    @property
    def complaints(self) -> list[str]:
        """What is not as it has to be."""
        found = [f"{self.failed} requests failed"] if self.failed else []
        found += [f"{self.stale} answers of the slot before"] if self.stale else []
        # A switch closes no connection. A reload may, and then it is the client that asks again.
        found += [f"{self.again} requests had to be sent again"] if self.again and self.what == SWITCHES else []
        found += [f"only {self.rate:.0f} requests a second"] if self.rate < LEAST_RATE else []
        return found


def measure(scene: str, programs: Programs, directory: Path, ledgers: Path, how: How) -> list[Figure]:
    """Measure one of ``SCENES`` in an empty directory; the requests are written down in ``ledgers``."""
    running = SCENES[scene](programs, directory)
    app = App(running)
    storm = Storm(running.public, ledgers, rate=how.rate, processes=how.processes)
    try:
        running.start()
        running.await_up()
        running.switch("blue", "none")
        storm.start()
        time.sleep(WARM_SECONDS)
        quiet = Phase("quiet", time.monotonic())
        time.sleep(how.quiet)
        quiet.end = time.monotonic()
        live = ["blue"]

        def switch() -> None:
            old, new = live[-1], "green" if live[-1] == "blue" else "blue"
            running.switch(new, old)
            live.append(new)

        phases = [_phase(SWITCHES, switch, live, how), _phase(RELOADS, running.reload, live, how)]
        asked = storm.stop()
    finally:
        storm.kill()
        running.close()
        app.close()
    return [figure_of(scene, phase, quiet, asked) for phase in phases]


def _phase(what: str, act: Callable[[], None], live: Sequence[str], how: How) -> Phase:
    phase = Phase(what, time.monotonic())
    for _number in range(how.actions):
        begin = time.monotonic()
        act()
        phase.actions.append(Action(begin, time.monotonic(), live[-1]))
        time.sleep(how.pause)
    phase.end = time.monotonic()
    return phase


def figure_of(scene: str, phase: Phase, quiet: Phase, asked: Sequence[Asked]) -> Figure:
    """Return the figures of a phase from all that was asked."""
    here = _within(asked, phase.begin, phase.end)
    failed = [one for one in here if one.outcome == FAILED]
    ends = [*(action.begin for action in phase.actions[1:]), phase.end]
    stale = [
        one
        for action, end in zip(phase.actions, ends, strict=True)
        for one in _within(here, action.end, end)
        if one.outcome != FAILED and one.slot != action.live
    ]
    skews = [_skew(here, action, end) for action, end in zip(phase.actions, ends, strict=True)]
    return Figure(
        scene=scene,
        what=phase.what,
        actions=len(phase.actions),
        seconds_each=statistics.median(action.end - action.begin for action in phase.actions),
        requests=len(here),
        fresh=sum(one.kind == FRESH for one in here),
        rate=len(here) / (phase.end - phase.begin),
        failed=len(failed),
        again=sum(one.outcome == AGAIN for one in here),
        stale=len(stale),
        before=_latency(_within(asked, quiet.begin, quiet.end)),
        during=_latency(here),
        skew=(statistics.median(skews), max(skews)) if phase.what == SWITCHES else None,
        reasons=tuple(f"{one.kind} at {one.start:.3f}: {one.why}" for one in failed[:5]),
    )


def _within(asked: Sequence[Asked], begin: float, end: float) -> list[Asked]:
    return [one for one in asked if begin <= one.start < end]


def _skew(asked: Sequence[Asked], action: Action, end: float) -> float:
    """Return the milliseconds for which both slots answered around a switch."""
    answers = [one for one in asked if action.begin <= one.end < end and one.outcome != FAILED]
    new = [one.end for one in answers if one.slot == action.live]
    old = [one.end for one in answers if one.slot != action.live]
    return max(0.0, max(old, default=0.0) - min(new, default=end)) * 1000


def _latency(asked: Sequence[Asked]) -> tuple[float, float]:
    seconds = sorted(one.end - one.start for one in asked)
    if not seconds:
        return float("nan"), float("nan")
    return statistics.median(seconds) * 1000, seconds[min(len(seconds) - 1, len(seconds) * 99 // 100)] * 1000
