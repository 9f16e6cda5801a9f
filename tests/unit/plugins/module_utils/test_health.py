"""What counts as healthy, and how the loop waits for it; on a clock that costs no time."""

from __future__ import annotations

import itertools
import math
import typing

import pytest
from ansible_collections.baton.release.plugins.module_utils.health import (
    MAX_IN_FLIGHT,
    PREDICATES,
    Expectation,
    Health,
    Policy,
    judge,
    wait_until_healthy,
)
from ansible_collections.baton.release.plugins.module_utils.probe import Observation

V110 = Expectation(version="v1.1.0")
ANY = Expectation()


def answers(body: bytes = b'{"version": "v1.1.0"}', status: int = 200) -> Observation:
    return Observation("answered", f"answers {status}", status, body)


GOOD = answers()
BAD = answers(status=500)
OLD = answers(b'{"version": "v1.0.0"}')
REFUSED = Observation("refused", "refuses connections")


@pytest.mark.parametrize(
    ("observation", "expectation", "version", "complaint"),
    [
        (GOOD, V110, "v1.1.0", None),
        (GOOD, ANY, "v1.1.0", None),
        (OLD, ANY, "v1.0.0", None),
        (OLD, V110, "v1.0.0", "answers v1.0.0, expected v1.1.0"),
        (BAD, V110, "v1.1.0", "answers 500, expected 200"),
        (BAD, Expectation(status=500, version="v1.1.0"), "v1.1.0", None),
        (answers(b"", 204), ANY, None, "answers 204, expected 200"),
        (answers(b"", 204), Expectation(status=204), None, None),
        (answers(b""), V110, None, "answers 200 without a body, expected v1.1.0"),
        (answers(b"<html>"), V110, None, "answers 200 without JSON, expected v1.1.0"),
        (answers(b"<html>"), ANY, None, None),
        (answers(b'{"version": "v1.1.0\xff"}'), V110, None, "answers 200 without JSON, expected v1.1.0"),
        (answers(b"[" * 60_000), V110, None, "answers 200 without JSON, expected v1.1.0"),
        (answers(b"9" * 5_000), V110, None, None),  # the complaint depends on the version of Python
        (answers(b'["v1.1.0"]'), V110, None, "answers 200 with a list where an object with version belongs"),
        (answers(b'"v1.1.0"'), V110, None, "answers 200 with a text where an object with version belongs"),
        (answers(b"null"), V110, None, "answers 200 with null where an object with version belongs"),
        (answers(b"{}"), V110, None, "answers 200 with JSON without version, expected v1.1.0"),
        (answers(b'{"version": null}'), V110, None, "answers 200 with null as version, expected v1.1.0"),
        (answers(b'{"version": true}'), V110, None, "answers 200 with a boolean as version, expected v1.1.0"),
        (answers(b'{"version": 1.1}'), Expectation(version="1.1"), None, "answers 200 with a number as version"),
        (answers(b'{"version": {"a": 1}}'), V110, None, "answers 200 with an object as version"),
        (answers(b'{"version": "v1.1.0 "}'), V110, "v1.1.0 ", "answers v1.1.0 , expected v1.1.0"),
        (answers(b'{"version": "v1.1.00"}'), V110, "v1.1.00", "answers v1.1.00, expected v1.1.0"),
        (answers(b'{"version": ""}'), V110, "", "answers , expected v1.1.0"),
        (answers(b'{"version": "\\u001b[2Jv1"}'), V110, "?[2Jv1", "answers ?[2Jv1, expected v1.1.0"),
        (REFUSED, V110, None, "refuses connections"),
        (Observation("too_large", "answers 200 with a body", 200), ANY, None, "answers 200 with a body"),
        (Observation("timeout", "gives no whole answer within 5 s"), ANY, None, "gives no whole answer within 5 s"),
        (Observation("connected", "accepts connections"), V110, None, None),
    ],
)
def test_judge(observation: Observation, expectation: Expectation, version: str | None, complaint: str | None) -> None:
    verdict = judge(observation, expectation)
    assert verdict.version == version
    if observation.body.startswith(b"999"):
        assert verdict.complaint
    elif complaint is None:
        assert verdict.complaint is None
    else:
        assert verdict.complaint is not None
        assert verdict.complaint.startswith(complaint)


@pytest.mark.parametrize(
    ("body", "key", "healthy"),
    [
        (b'{"build": {"version": "v1.1.0"}}', "build.version", True),
        (b'{"build": {"version": "v1.1.0"}}', "version", False),
        (b'{"build": "v1.1.0"}', "build.version", False),
        (b'{"build": ["v1.1.0"]}', "build.0", False),
        (b'{"app_version": "v1.1.0"}', "app_version", True),
    ],
)
def test_version_key(body: bytes, key: str, healthy: bool) -> None:
    expectation = Expectation(version="v1.1.0", version_key=key)
    assert (judge(answers(body), expectation).complaint is None) == healthy


def test_a_very_long_version_does_not_fill_the_screen() -> None:
    verdict = judge(answers(b'{"version": "' + b"v" * 60_000 + b'"}'), V110)
    assert len(verdict.complaint or "") < 200
    assert len(verdict.version or "") < 200


def test_every_predicate_can_fail() -> None:
    failing = {"complete": REFUSED, "status": BAD, "version": OLD}
    assert failing.keys() == PREDICATES.keys()
    for name, observation in failing.items():
        version = "v1.0.0" if observation is OLD else None
        assert PREDICATES[name](observation, V110, version, "")
        assert not PREDICATES[name](GOOD, V110, "v1.1.0", "")


class World:
    """Endpoints that answer as their script says, on a clock that jumps from event to event.

    A script gives (seconds until the answer, the answer), again and again; its last line is repeated.
    """

    def __init__(self, *scripts: list[tuple[float, Observation]]) -> None:
        self.now = 1000.0
        self.started: list[tuple[float, int]] = []
        self.most_in_flight = 0
        self._scripts = [itertools.chain(script, itertools.repeat(script[-1])) for script in scripts]
        self._in_flight: dict[int, tuple[float, Observation]] = {}

    def clock(self) -> float:
        return self.now

    def start(self, index: int) -> None:
        assert index not in self._in_flight
        self.started.append((self.now - 1000, index))
        delay, observation = next(self._scripts[index])
        self._in_flight[index] = (self.now + delay, observation)
        self.most_in_flight = max(self.most_in_flight, len(self._in_flight))

    def finished(self, seconds: float) -> typing.Iterable[tuple[int, Observation]]:
        assert seconds < math.inf
        first = min((end for end, _ in self._in_flight.values()), default=math.inf)
        self.now = max(self.now, min(self.now + max(0, seconds), first))
        done = [index for index, (end, _) in self._in_flight.items() if end <= self.now]
        return [(index, self._in_flight.pop(index)[1]) for index in done]

    def wait(self, *, expectation: Expectation = V110, **policy: float) -> tuple[list[Health], float]:
        rules = Policy(**policy)  # type: ignore[arg-type]  # consecutive is an int in every call
        healths, seconds = wait_until_healthy(
            [f"app{index}" for index in range(len(self._scripts))],
            expectation=expectation,
            policy=rules,
            prober=self,
            clock=self.clock,
        )
        self.healthy = [health.holds(rules) for health in healths]
        return healths, seconds


FAST = 0.01


def test_the_first_success_is_enough() -> None:
    world = World([(FAST, GOOD)])
    (health,), seconds = world.wait()
    assert world.healthy == [True]
    assert seconds == pytest.approx(FAST)
    assert (health.observations, health.consecutive) == (1, 1)


def test_a_slow_start_is_waited_for() -> None:
    world = World([(FAST, REFUSED)] * 5 + [(FAST, BAD), (FAST, OLD), (FAST, GOOD)])
    (health,), seconds = world.wait()
    assert world.healthy == [True]
    assert seconds == pytest.approx(7 * 0.5 + FAST)
    assert (health.observations, health.successes) == (8, 1)


def test_the_old_process_is_never_taken_for_the_new_one() -> None:
    world = World([(FAST, OLD)])
    (health,), seconds = world.wait(deadline=10)
    assert world.healthy == [False]
    assert health.last is not None
    assert health.last.complaint == "answers v1.0.0, expected v1.1.0"
    assert 9.5 <= seconds <= 10


@pytest.mark.parametrize("bad", [BAD, OLD, REFUSED, answers(b"[]")])
@pytest.mark.parametrize("good_in_a_row", [1, 2])
def test_flapping_is_never_promoted(bad: Observation, good_in_a_row: int) -> None:
    script = ([(FAST, GOOD)] * good_in_a_row + [(FAST, bad)]) * 200
    world = World(script)
    (health,), _ = world.wait(consecutive=3, deadline=100)
    assert world.healthy == [False]
    assert health.observations == 200
    assert health.successes > 90


def test_consecutive_counts_from_the_last_failure() -> None:
    world = World([(FAST, GOOD), (FAST, GOOD), (FAST, BAD), (FAST, GOOD)])
    _, seconds = world.wait(consecutive=3)
    assert world.healthy == [True]
    assert seconds == pytest.approx(5 * 0.5 + FAST)


@pytest.mark.parametrize("minimum", [0.9, 1.0, 5.0])
def test_min_healthy_seconds_are_proven_by_observations(minimum: float) -> None:
    world = World([(FAST, BAD), (FAST, GOOD)])
    (health,), seconds = world.wait(min_healthy_seconds=minimum)
    assert world.healthy == [True]
    assert seconds == pytest.approx(0.5 + FAST + math.ceil(minimum / 0.5) * 0.5)
    assert health.consecutive == math.ceil(minimum / 0.5) + 1


def test_one_failure_starts_min_healthy_seconds_again() -> None:
    world = World([(FAST, GOOD)] * 9 + [(FAST, BAD), (FAST, GOOD)])
    _, seconds = world.wait(min_healthy_seconds=5)
    assert world.healthy == [True]
    assert seconds == pytest.approx(10 * 0.5 + 5 + FAST)


def test_all_have_to_be_healthy_at_once() -> None:
    early = [(FAST, GOOD)] * 4 + [(FAST, BAD)] * 10 + [(FAST, GOOD)]
    late = [(FAST, BAD)] * 6 + [(FAST, GOOD)]
    world = World(early, late)
    _, seconds = world.wait()
    assert world.healthy == [True, True]
    assert seconds == pytest.approx(14 * 0.5 + FAST)


def test_a_slow_endpoint_does_not_slow_the_others() -> None:
    world = World([(4.0, GOOD)], [(FAST, GOOD)])
    _, seconds = world.wait(consecutive=2, deadline=60)
    assert seconds == pytest.approx(8.0)
    assert [started for started, index in world.started if index == 1][:4] == pytest.approx([0, 0.5, 1, 1.5])


def test_the_pace_is_kept_from_start_to_start_and_never_overlaps() -> None:
    world = World([(0.2, BAD), (0.2, BAD), (0.9, BAD), (0.2, BAD)])
    world.wait(deadline=3)
    assert [started for started, _ in world.started] == pytest.approx([0, 0.5, 1.0, 1.9, 2.4, 2.9])


def test_a_hanging_probe_counts_once_and_the_deadline_is_kept() -> None:
    world = World([(math.inf, GOOD)], [(FAST, GOOD)])
    healths, seconds = world.wait(probe_timeout=2, deadline=7)
    assert seconds == pytest.approx(7)
    assert world.healthy == [False, True]
    assert healths[0].observations == 1
    assert healths[0].last is not None
    assert healths[0].last.complaint == "gives no whole answer after 2.2 s"


def test_an_answer_after_its_time_does_not_count_but_the_next_one_does() -> None:
    world = World([(6.0, GOOD), (FAST, GOOD)])
    (health,), seconds = world.wait(probe_timeout=2, deadline=20)
    assert seconds == pytest.approx(6 + FAST)
    assert (health.observations, health.successes) == (2, 1)


def test_a_hang_after_a_success_takes_the_health_away() -> None:
    world = World([(FAST, GOOD), (FAST, GOOD), (math.inf, GOOD)], [(FAST, BAD)] * 9 + [(FAST, GOOD)])
    healths, _ = world.wait(probe_timeout=2, deadline=10)
    assert world.healthy == [False, True]
    assert healths[0].consecutive == 0


def test_the_last_observation_is_the_hang_when_nothing_else_explains_it() -> None:
    world = World([(FAST, GOOD), (math.inf, GOOD)], [(math.inf, GOOD)], [(FAST, BAD), (math.inf, GOOD)])
    healths, _ = world.wait(consecutive=3, probe_timeout=30, deadline=5)
    complaints = [health.last.complaint for health in healths if health.last is not None]
    assert complaints == [
        "gives no whole answer after 4.5 s",
        "gives no whole answer after 5.0 s",
        "answers 500, expected 200",
    ]


def test_no_more_than_so_many_at_once_and_all_get_their_turn() -> None:
    world = World(*([(0.3, GOOD)] for _ in range(50)))
    _, seconds = world.wait(consecutive=2)
    assert all(world.healthy)
    assert world.most_in_flight == MAX_IN_FLIGHT
    assert 7 * 0.3 <= seconds <= 8 * 0.3


def test_it_ends_early_when_nothing_more_can_be_learned() -> None:
    world = World([(FAST, BAD)])
    _, seconds = world.wait(interval=7, deadline=10)
    assert seconds == pytest.approx(7 + FAST)


@pytest.mark.parametrize("observation", [GOOD, BAD])
def test_once_looks_once(observation: Observation) -> None:
    world = World([(FAST, observation)], [(1.0, BAD)])
    policy = Policy(consecutive=5, min_healthy_seconds=3).once()
    healths, seconds = world.wait(**policy._asdict())
    assert [health.observations for health in healths] == [1, 1]
    assert world.healthy == [observation is GOOD, False]
    assert seconds == pytest.approx(1.0)


def test_once_does_not_wait_for_a_probe_that_hangs() -> None:
    world = World([(math.inf, GOOD)])
    _, seconds = world.wait(**Policy().once()._asdict())
    assert seconds == pytest.approx(5.25)
