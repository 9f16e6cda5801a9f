"""What has to be true after a death: users lost nothing, status.yml tells the truth, and one run brings all to where it belongs."""

from __future__ import annotations

import re
import signal
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.chaos import migrations, processes
from tests.chaos.ground import fence, lease
from tests.chaos.procedures import Procedure, named
from tests.chaos.scene import Fallen, Scene
from tests.chaos.strike import Strike
from tests.chaos.truth import Truth, contradictions, look
from tests.e2e.environment import Played
from tests.witness.checker import judge
from tests.witness.ledger import Ledger
from tests.witness.process import watched

__all__ = ["Outcome", "examine", "unsettled"]

RUNS_AT_MOST = 3
LOOKS_AT_MOST = 5
HELD_AT_MOST_SECONDS = 25.0
LATE_SECONDS = 10.0
POLL_SECONDS = 0.1
ORPHANS_END_SECONDS = 60.0


@dataclass
class Outcome:
    """What came of a strike; ``problems`` is empty when all is as it has to be."""

    name: str
    procedure: str
    task: str
    moment: str
    death: str
    way: str
    fraction: float
    held: bool
    code: int | None = None
    """Exit code of the run that was struck."""
    in_task: bool = False
    """Whether the task had begun and not ended."""
    orphans: int = 0
    served: str = ""
    """What users got after the death: ``old``, ``new`` or both."""
    apart: bool = False
    """Whether the load balancers sent requests different ways then."""
    runs_to_converge: int = 0
    requests: int = 0
    failed: int = 0
    failed_by_bad_version: int = 0
    migrations_wrong: int = 0
    seconds: float = 0.0
    commit: str = ""
    """What was struck."""
    problems: list[str] = field(default_factory=list)
    details: str = ""
    """The output of the runs, where there are problems."""

    @classmethod
    def of(cls, strike: Strike, **more: Any) -> Outcome:
        """Return the outcome of a strike of which no more than ``more`` is known."""
        return cls(
            name=strike.name,
            procedure=strike.procedure,
            task=str(strike.occurrence),
            moment=strike.moment,
            death=strike.death.name,
            way=strike.way,
            fraction=strike.fraction,
            held=strike.held,
            **more,
        )

    def as_line(self) -> dict[str, Any]:
        """Return the outcome for the file of results."""
        return asdict(self)


class Examination:
    """One strike on a scene, from a proven version live to a proven version live."""

    def __init__(self, scene: Scene, strike: Strike) -> None:
        """Begin from whatever the strike before has left."""
        self.scene = scene
        self.strike = strike
        self.procedure: Procedure = named(strike.procedure)
        self.goal = scene.prepare(self.procedure)
        truth = look(scene.ground)
        (self.before,) = truth.served
        self.newest_run, _ = truth.lease
        self.outcome = Outcome.of(strike)
        self.outputs: list[str] = []

    def run(self) -> Outcome:
        """Strike, see to it that people get out of it in their way, and judge."""
        began, outcome, clients = time.monotonic(), self.outcome, self.scene.clients()
        with watched(clients) as ledgers:
            fallen = self.scene.fell(self.strike, self.procedure, self.goal)
            try:
                self._note(fallen)
                self._check_status()
                wanted = self._wanted_version()
                self._get_out(fallen, wanted)
            finally:
                self._await_orphans(fallen)
        for balancer, ledger in ledgers.items():
            self._judge(balancer, ledger, wanted)
        wrong = migrations.doubled_or_lost(self.scene.ground.database)
        outcome.migrations_wrong, outcome.problems = len(wrong), [*outcome.problems, *wrong]
        outcome.seconds = round(time.monotonic() - began, 1)
        outcome.details = "\n".join(self.outputs) if outcome.problems else ""
        if not outcome.problems:
            for client in clients.values():
                client.ledger_path.unlink()
        return outcome

    def _note(self, fallen: Fallen) -> None:
        outcome, death = self.outcome, self.strike.death
        self.outputs.append(fallen.output)
        outcome.code, outcome.orphans = fallen.code, len(fallen.orphans)
        outcome.in_task = fallen.in_task
        if fallen.code is None:
            outcome.problems.append("the run never came to this task, or lived on")
        elif fallen.code == 0:
            outcome.problems.append(f"the run ended well in spite of {death.name}")
        if self.strike.held:
            processes.send(fallen.orphans, signal.SIGSTOP)

    def _check_status(self) -> None:
        """Compare status.yml with the truth; an orphan may change the truth meanwhile, so only a truth that stays counts."""
        for _ in range(LOOKS_AT_MOST):
            before = look(self.scene.ground)
            played = self.scene.shop.play("status")
            if before == look(self.scene.ground):
                break
        self.outputs.append(played.output)
        self.outcome.apart = len({front.routing for front in before.fronts}) > 1
        names = {self.before: "old", self.goal: "new"}
        self.outcome.served = " and ".join(sorted(names.get(version, version) for version in before.served))
        if played.code != 0:
            self.outcome.problems.append(f"status.yml ended with {played.code}")
            return
        self.outcome.problems += contradictions(re.sub(r"[ \t]+", " ", played.output), before)

    def _wanted_version(self) -> str:
        """Return the version that has to be live in the end."""
        if self.strike.way == "same command":
            return self.before if self.procedure.goal == "bad" else self.goal
        newest = self.scene.history()[0]
        if newest["token"] > self.newest_run and newest["outcome"] == "unfinished":
            # The run had begun, so going back from it is going back to where it came from; a rollback was going there anyway.
            return self.before if self.procedure.playbook == "release" else self.goal
        (served,) = look(self.scene.ground).served
        return self.scene.version_before(served)

    def _get_out(self, fallen: Fallen, wanted: str) -> None:
        alarm = threading.Thread(target=self._let_go, args=(fallen, lease(self.scene.ground)["token"]))
        alarm.start()
        try:
            played = self._converge()
        finally:
            alarm.join()
        # What it still does is judged too.
        self._await_orphans(fallen)
        self.outcome.problems += self._unconverged(played, wanted)
        if self.strike.way == "same command" and self.procedure.goal != "bad" and played.code == 0:
            further = self._play()
            if further.code != 0 or further.changed():
                self.outcome.problems.append(f"a further run ended with {further.code} and changed {further.changed()}")

    def _let_go(self, fallen: Fallen, token: int) -> None:
        """Let what is held go on some time after people's run has fenced it off; or later, as it may itself keep them from it.

        What was paused early in its task has most of it to do yet, and does it late.
        """
        if not self.strike.held:
            return
        deadline, ground = time.monotonic() + HELD_AT_MOST_SECONDS, self.scene.ground
        while min(fence(ground, one) for one in ground.balancers) <= token and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        time.sleep((1 - self.strike.fraction) * LATE_SECONDS)
        processes.send(fallen.orphans, signal.SIGCONT)

    def _converge(self) -> Played:
        fails_by_right = self.strike.way == "same command" and self.procedure.goal == "bad"
        for run in range(1, RUNS_AT_MOST + 1):
            self.outcome.runs_to_converge = run
            played = self._play()
            if (played.code == 0) != fails_by_right:
                break
        else:
            self.outcome.problems.append(f"{RUNS_AT_MOST} runs did not end as they should")
        return played

    def _play(self) -> Played:
        if self.strike.way == "rollback":
            played = self.scene.shop.play("rollback", **self.procedure.variables)
        else:
            played = self.scene.shop.play(self.procedure.playbook, **self.scene.arguments(self.procedure, self.goal))
        self.outputs.append(played.output)
        return played

    def _unconverged(self, played: Played, wanted: str) -> list[str]:
        truth = look(self.scene.ground)
        problems = unsettled(truth, wanted)
        if self.outcome.runs_to_converge != 1:
            problems.append(f"it took {self.outcome.runs_to_converge} runs")
        if truth.lease[1] and self.scene.history()[0]["outcome"] == "unfinished":
            problems.append(f"{truth.lease[1]} still holds the lock")
        if self.procedure.goal == "bad" and self.strike.way == "same command" and "reverted. " not in played.output:
            problems.append("the bad version was not reverted")
        return problems

    def _await_orphans(self, fallen: Fallen) -> None:
        left = processes.await_end(fallen.run, seconds=ORPHANS_END_SECONDS)
        if left:
            self.outcome.problems.append(f"{len(left)} processes of the struck run did not end")
            processes.end(fallen.run)

    def _judge(self, balancer: str, ledger: Ledger, wanted: str) -> None:
        bad = self.goal if self.procedure.goal == "bad" else None
        verdict = judge(ledger, allow_5xx_of=bad, expect_versions={self.before, self.goal, wanted})
        self.outcome.requests += verdict.requests
        self.outcome.failed += len(verdict.failed_by_release)
        self.outcome.failed_by_bad_version += len(verdict.failed_by_bad_version)
        self.outcome.problems += [f"{balancer}: {reason}" for reason in verdict.reasons]


def unsettled(truth: Truth, wanted: str) -> list[str]:
    """Return in what the environment is not at rest with the version ``wanted``."""
    problems = []
    if not truth.live:
        words = ", ".join(f"{front.name} {front.routing.word}" for front in truth.fronts)
        problems.append(f"the load balancers do not agree: {words}")
    problems += [
        f"{front.name} has {front.routing.word}, and would begin with {front.routing.begins} after a restart"
        for front in truth.fronts
        if front.routing.begins != front.routing.word
    ]
    if truth.served != {wanted}:
        problems.append(f"{', '.join(sorted(truth.served))} is served, not {wanted}")
    if truth.versions(truth.live) != {wanted}:
        problems.append(f"{truth.live} is live and answers with {truth.versions(truth.live)}")
    if truth.shares:
        problems.append(f"{max(truth.shares)} % of the clients still reach the other slot")
    for host in truth.hosts:
        unit = truth.units.get((host, truth.live))
        if unit and not (unit.runs and unit.returns):
            problems.append(f"{truth.live} of {host} is live, and its supervisor says {unit}")
    return problems


def examine(scene: Scene, strike: Strike) -> Outcome:
    """Make the strike and return what came of it."""
    return Examination(scene, strike).run()
