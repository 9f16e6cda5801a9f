# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""When is an endpoint healthy, and for how long do we wait: predicates in a table and one loop on a monotonic clock."""

from __future__ import annotations

import json
import math
import time
import typing

from ansible_collections.baton.release.plugins.module_utils.endpoints import printable
from ansible_collections.baton.release.plugins.module_utils.probe import Observation

__all__ = ["Expectation", "Health", "Policy", "Prober", "Verdict", "judge", "wait_until_healthy"]

MAX_IN_FLIGHT = 16
# A probe that cannot be cut from inside (a name lookup) is given up from outside, so much later than probe_timeout.
_GRACE = 0.25


class Expectation(typing.NamedTuple):
    """A healthy answer: its HTTP status and, when ``version`` is given, that very text under ``version_key``."""

    status: int = 200
    version: str | None = None
    version_key: str = "version"


class Verdict(typing.NamedTuple):
    """What an observation means: no ``complaint`` means healthy; ``version`` is what the body reports, if it does."""

    observation: Observation
    version: str | None
    complaint: str | None

    def as_result(self) -> dict[str, typing.Any]:
        """Return the observation as the module reports it."""
        seen = self.observation
        detail = self.complaint or seen.detail
        return {"kind": seen.kind, "status": seen.status, "version": self.version, "detail": detail, "ms": seen.ms}


def judge(observation: Observation, expectation: Expectation) -> Verdict:
    """Say whether ``observation`` is that of a healthy endpoint, and if not, why."""
    version, missing = _version_in(observation.body, expectation.version_key)
    if observation.kind == "connected":
        return Verdict(observation, None, None)
    complaints = (complain(observation, expectation, version, missing) for complain in PREDICATES.values())
    shown = None if version is None else printable(version)
    return Verdict(observation, shown, next((complaint for complaint in complaints if complaint), None))


def _incomplete(observation: Observation, _expected: Expectation, _version: str | None, _missing: str) -> str | None:
    return None if observation.kind == "answered" else observation.detail


def _other_status(
    observation: Observation, expectation: Expectation, _version: str | None, _missing: str
) -> str | None:
    return None if observation.status == expectation.status else f"{observation.detail}, expected {expectation.status}"


def _other_version(observation: Observation, expectation: Expectation, version: str | None, missing: str) -> str | None:
    if expectation.version in (None, version):
        return None
    found = f"{observation.detail} {missing}" if version is None else f"answers {printable(version)}"
    return f"{found}, expected {expectation.version}"


# In the order of what a person wants to know first. Each returns the complaint, or None when its condition holds.
PREDICATES: dict[str, typing.Callable[[Observation, Expectation, str | None, str], str | None]] = {
    "complete": _incomplete,
    "status": _other_status,
    "version": _other_version,
}

_JSON_TYPES = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", int: "a number", float: "a number"}


def _version_in(body: bytes, key: str) -> tuple[str | None, str]:
    """Return the text under the dotted ``key`` of the JSON object ``body``, or None and what is in its place."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None, "without JSON" if body else "without a body"
    for part in key.split("."):
        if not isinstance(value, dict):
            return None, f"with {_json_type(value)} where an object with {key} belongs"
        if part not in value:
            return None, f"with JSON without {key}"
        value = value[part]
    return (value, "") if isinstance(value, str) else (None, f"with {_json_type(value)} as {key}")


def _json_type(value: object) -> str:
    return _JSON_TYPES.get(type(value), "null")


class Policy(typing.NamedTuple):
    """How long and how often: all times in seconds."""

    consecutive: int = 1
    min_healthy_seconds: float = 0
    deadline: float = 60
    interval: float = 0.5
    probe_timeout: float = 5

    def once(self) -> Policy:
        """Return the policy of a single look at each endpoint."""
        return self._replace(consecutive=1, min_healthy_seconds=0, interval=math.inf)


class Health:
    """What is known of one endpoint: the last verdict, and how long it has been healthy without a break."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.observations = self.successes = self.consecutive = 0
        self.last: Verdict | None = None
        self.due = -math.inf
        self.asked_at: float | None = None
        self._given_up = False
        self._healthy_since = self._healthy_until = 0.0

    def ask(self, now: float, interval: float) -> None:
        """Note that a probe starts ``now``."""
        self.asked_at, self._given_up, self.due = now, False, now + interval

    def answer(self, verdict: Verdict, now: float) -> None:
        """Note the ``verdict`` of the probe under way, unless it was given up before."""
        self.asked_at = None
        if not self._given_up:
            self._note(verdict, now)

    def give_up(self, now: float) -> None:
        """Count the probe under way as failed; it stays under way, so that hanging probes do not pile up."""
        if self.asked_at is not None and not self._given_up:
            self._given_up = True
            self._note(_no_answer(now - self.asked_at), now)

    def gives_up_at(self, probe_timeout: float) -> float:
        """Return when the probe under way has had its time; infinity without one."""
        return math.inf if self.asked_at is None or self._given_up else self.asked_at + probe_timeout + _GRACE

    def holds(self, policy: Policy) -> bool:
        """Say whether the endpoint has been seen healthy often and long enough, up to its last observation."""
        proven = self._healthy_until - self._healthy_since
        return self.consecutive >= policy.consecutive and proven >= policy.min_healthy_seconds

    def is_settled(self, end: float) -> bool:
        """Say whether nothing more can be learned of this endpoint before ``end``."""
        return self.due >= end and (self.asked_at is None or self._given_up)

    def finish(self, policy: Policy, now: float) -> None:
        """Let a probe still under way at the end be the last observation, unless an earlier one says what is wrong."""
        if self.asked_at is not None and not self.holds(policy) and (self.last is None or self.last.complaint is None):
            self.last = _no_answer(now - self.asked_at)

    def _note(self, verdict: Verdict, now: float) -> None:
        self.last = verdict
        self.observations += 1
        if verdict.complaint is not None:
            self.consecutive = 0
            return
        self.successes += 1
        self.consecutive += 1
        self._healthy_until = now
        if self.consecutive == 1:
            self._healthy_since = now


def _no_answer(seconds: float) -> Verdict:
    detail = f"gives no whole answer after {seconds:.1f} s"
    return Verdict(Observation("timeout", detail, ms=round(seconds * 1000)), None, detail)


class Prober(typing.Protocol):
    """Looks at endpoints, several at a time; the endpoints are known by their index."""

    def start(self, index: int) -> None:
        """Begin one look at an endpoint."""

    def finished(self, seconds: float) -> typing.Iterable[tuple[int, Observation]]:
        """Give the looks that have ended; when there are none, wait for the first, at most so many ``seconds``."""


def wait_until_healthy(
    names: typing.Sequence[str],
    *,
    expectation: Expectation,
    policy: Policy,
    prober: Prober,
    clock: typing.Callable[[], float] = time.monotonic,
) -> tuple[list[Health], float]:
    """Look at the endpoints until all of them are healthy at once, or until nothing more can be learned in time.

    Every endpoint is asked at its own pace, so a slow one does not hold up the others.

    Returns:
        What is known of each endpoint, and the seconds that have passed.
    """
    started = now = clock()
    end = started + policy.deadline
    healths = [Health(name) for name in names]
    while not all(health.holds(policy) for health in healths) and now < end:
        _ask_those_due(healths, prober, now, policy.interval)
        if all(health.is_settled(end) for health in healths):
            break
        for index, observation in prober.finished(_next_event(healths, policy, end) - now):
            healths[index].answer(judge(observation, expectation), clock())
        now = clock()
        for health in healths:
            if now >= health.gives_up_at(policy.probe_timeout):
                health.give_up(now)
    for health in healths:
        health.finish(policy, now)
    return healths, now - started


def _ask_those_due(healths: list[Health], prober: Prober, now: float, interval: float) -> None:
    idle = sorted((health.due, index) for index, health in enumerate(healths) if health.asked_at is None)
    for due, index in idle[: max(0, MAX_IN_FLIGHT - (len(healths) - len(idle)))]:
        if due <= now:
            healths[index].ask(now, interval)
            prober.start(index)


def _next_event(healths: list[Health], policy: Policy, end: float) -> float:
    """Return when something happens next without an answer: a probe is due, or one has had its time."""
    room = sum(health.asked_at is not None for health in healths) < MAX_IN_FLIGHT
    due = (health.due for health in healths if room and health.asked_at is None)
    return min(end, *due, *(health.gives_up_at(policy.probe_timeout) for health in healths))
