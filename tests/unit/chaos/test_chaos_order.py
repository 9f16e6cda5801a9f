"""The order of the strikes: whoever has time for some of them only strikes at every task that matters first."""

from __future__ import annotations

from dataclasses import replace

from tests.chaos.recording import Occurrence
from tests.chaos.strike import DEATHS, MOMENTS, WAYS, Strike, dealt, every

TASKS = [
    Occurrence(name, 1, "lb_switch", ("lb1",) if remote else (), 1.0, remote=remote)
    for name, remote in (("Stage", True), ("Say so", False), ("Switch", True))
]
SKIPPED = Occurrence("Put back", 1, "lb_switch", (), 0.0, remote=True)
EACH = len(MOMENTS) * len(DEATHS) * len(WAYS)


def order(seed: int) -> list[Strike]:
    return dealt(
        [strike for name in ("release", "rollback") for strike in every(name, TASKS, seed=seed)],
        seed=seed,
    )


def test_every_task_of_a_host_has_its_turn_before_one_has_a_second() -> None:
    first = [(strike.procedure, str(strike.occurrence)) for strike in order(1)[:4]]
    assert sorted(first) == [(name, task) for name in ("release", "rollback") for task in ("Stage", "Switch")]


def test_tasks_of_the_controller_alone_come_last() -> None:
    strikes = order(1)
    assert not any(strike.occurrence.remote for strike in strikes[4 * EACH :])
    assert all(strike.occurrence.remote for strike in strikes[: 4 * EACH])


def test_what_every_host_skipped_does_not_come_before_what_does_something() -> None:
    for seed in range(20):
        strikes = dealt([*every("release", [SKIPPED, *TASKS], seed=seed)], seed=seed)
        assert {strike.occurrence.task for strike in strikes[: 2 * EACH]} == {"Stage", "Switch"}


def test_a_task_of_the_next_batch_has_its_first_turn_after_all_tasks_have_had_theirs() -> None:
    tasks = [*TASKS, replace(TASKS[0], nth=2), replace(TASKS[2], nth=2)]
    for seed in range(20):
        strikes = dealt([*every("release", tasks, seed=seed)], seed=seed)
        assert [strike.occurrence.nth for strike in strikes[:4]] == [1, 1, 2, 2]


def test_none_is_lost_and_a_seed_has_one_order() -> None:
    assert len({strike.name for strike in order(1)}) == len(order(1)) == 4 * EACH + 2 * EACH // 2
    assert order(1) == order(1)
    assert [strike.name for strike in order(1)] != [strike.name for strike in order(2)]
