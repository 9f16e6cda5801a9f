"""How a controller dies: in which task, at which moment of it, by which signal, and how people go on."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.chaos.recording import Occurrence

__all__ = ["DEATHS", "MOMENTS", "WAYS", "Death", "Moment", "Strike", "Way", "dealt", "every"]

Moment = Literal["before", "middle", "between"]
"""Between: the first host's worker has been started and lives on, and no other one ever starts."""
Way = Literal["same command", "rollback"]
MOMENTS: tuple[Moment, ...] = ("before", "middle")
"""Those that every task has."""
WAYS: tuple[Way, ...] = ("same command", "rollback")


@dataclass(frozen=True)
class Death:
    """A signal, to the main process or to its process group. Workers have left the group since ansible-core 2.19."""

    name: str
    signal: signal.Signals
    to_group: bool


DEATHS = (
    Death("SIGKILL", signal.SIGKILL, to_group=True),  # ansible-runner's cancel, and so that of AWX
    Death("SIGTERM", signal.SIGTERM, to_group=False),  # a service manager, kill
    Death("SIGINT", signal.SIGINT, to_group=True),  # Ctrl-C in a terminal
)


@dataclass(frozen=True)
class Strike:
    """One death and what follows. ``held``: what lives on of the run is paused then, and goes on while people act."""

    procedure: str
    occurrence: Occurrence
    death: Death
    moment: Moment
    way: Way
    fraction: float
    held: bool

    @property
    def name(self) -> str:
        """What names this strike in results of other runs too."""
        return f"{self.procedure} / {self.occurrence} / {self.moment} / {self.death.name} / {self.way}"

    @property
    def delay(self) -> float:
        """Seconds from the start of the task's first worker to the signal."""
        return self.fraction * self.occurrence.seconds


def every(procedure: str, occurrences: Sequence[Occurrence], *, seed: int) -> Iterator[Strike]:
    """Return all strikes at the occurrences; those of one seed are always the same.

    A task that every host skipped has no middle.
    """
    for occurrence in occurrences:
        for moment in MOMENTS if occurrence.hosts else MOMENTS[:1]:
            for death in DEATHS:
                for way in WAYS:
                    yield one(procedure, occurrence, death, moment, way, seed=seed)


def one(procedure: str, occurrence: Occurrence, death: Death, moment: Moment, way: Way, *, seed: int) -> Strike:
    """Return a strike whose chances depend on the seed and on its name alone."""
    plain = Strike(procedure, occurrence, death, moment, way, fraction=0.5, held=False)
    chance = random.Random(f"{seed} {plain.name}")  # noqa: S311  # no secret
    return Strike(
        procedure,
        occurrence,
        death,
        moment,
        way,
        fraction=round(chance.uniform(0.1, 0.9), 3),
        held=chance.random() < 0.5,  # one in two
    )


def dealt(strikes: Sequence[Strike], *, seed: int) -> list[Strike]:
    """Return the strikes in an order of which a beginning of any length is spread over all tasks.

    Task after task has its turn, a task that a procedure comes to again after those that it comes to for the first time; then all of
    them again. Tasks of the controller alone, and those that every host skipped, come after all others: the targets are then as before
    or after one of those.
    """
    of_task: dict[tuple[str, Occurrence], list[Strike]] = {}
    for strike in strikes:
        of_task.setdefault((strike.procedure, strike.occurrence), []).append(strike)
    met: set[tuple[bool, str, str]] = set()
    turns = []
    for (procedure, task), own in of_task.items():
        chance = random.Random(f"{seed} {procedure} {task}")  # noqa: S311  # no secret
        idle = not (task.remote and task.hosts)
        again = (idle, procedure, task.task) in met
        met.add((idle, procedure, task.task))
        for turn, strike in enumerate(chance.sample(own, len(own))):
            turns.append((idle, turn, again, chance.random(), strike))
    return [strike for *_, strike in sorted(turns, key=lambda one: one[:4])]
