"""Many strikes, one after the other on each of a few environments."""

from __future__ import annotations

import queue
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.chaos.directories import Directories
from tests.chaos.oracle import Outcome, examine
from tests.chaos.procedures import Procedure
from tests.chaos.recording import Occurrence
from tests.chaos.results import Results
from tests.chaos.scene import Scene, SceneError
from tests.chaos.strike import Strike, dealt, every
from tests.e2e.environment import Environment
from tests.witness.process import watched

__all__ = ["Campaign", "Stage", "embedded", "tasks_of"]

# A short watch, and no waiting for what will not come.
CHEAP = {
    "watch_seconds": 1,
    "watch_slice_seconds": 1,
    "watch_min_requests": 5,
    "app_health_deadline": 15,
    "app_stop_timeout": 10,
    "rolling_drain_seconds": 5,
}
Stage = Callable[[Path, Path], AbstractContextManager[Scene]]
"""Has a scene in a directory, with the builds of another, for as long as it is needed."""
GIVEN_UP_AT_MOST = 10
TOLD = 1500
"""Characters of what went wrong."""


@contextmanager
def embedded(root: Path, artifacts: Path) -> Iterator[Scene]:
    """Have an environment in ``root`` with a history; nothing of it runs afterwards, and nothing of it is left where all went well."""
    shop = Environment(root, CHEAP)
    shutil.copytree(artifacts, root / "artifacts")
    scene = Scene(shop, Directories(shop))
    try:
        shop.must("embedded_up")
        shop.must("release", release_version="v1.0.0")
        scene.settle()
        yield scene
    finally:
        shop.must("embedded_down")
    shutil.rmtree(root)


def tasks_of(scene: Scene, procedure: Procedure) -> list[Occurrence]:
    """Return the tasks of the procedure, from a run that nothing disturbs.

    Raises:
        SceneError: it did not end as it should.
    """
    goal = scene.prepare(procedure)
    # There has to be traffic for a bad version to fail under.
    with watched(scene.clients()):
        played, tasks = scene.record(procedure, goal)
    if (played.code != 0) != (procedure.goal == "bad"):
        raise SceneError(f"{procedure.name}, undisturbed, ended with {played.code}:\n{played.output}")
    return tasks


class Campaign:
    """All strikes at some procedures that are not in the results yet."""

    def __init__(self, results: Results, stage: Stage, *, root: Path, artifacts: Path, seed: int) -> None:
        """Take what makes environments, where they go and the builds that they get."""
        self._results = results
        self._stage = stage
        self._root = root
        self._artifacts = artifacts
        self._seed = seed
        self._begun = time.monotonic()
        self._made = 0
        self._planned = 0
        self._left: queue.SimpleQueue[Strike] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._environments = 0
        self._given_up = 0
        self._talk = threading.Lock()

    def record(self, procedures: Sequence[Procedure]) -> None:
        """Find the tasks of each procedure whose tasks the results do not have."""
        missing = [procedure for procedure in procedures if procedure.name not in self._results.recordings]
        if not missing:
            return
        with self._stage(self._new_root(), self._artifacts) as scene:
            for procedure in missing:
                tasks = tasks_of(scene, procedure)
                self._results.record(procedure.name, tasks)
                self._say(f"recorded {procedure.name}: {len(tasks)} tasks")

    def run(self, procedures: Sequence[Procedure], *, workers: int, limit: int | None) -> None:
        """Make the strikes; after an interrupt the strikes under way are still made."""
        done = self._results.done()
        strikes = [
            strike
            for procedure in procedures
            for strike in every(procedure.name, self._results.recordings[procedure.name], seed=self._seed)
        ]
        planned = [strike for strike in dealt(strikes, seed=self._seed)[:limit] if strike.name not in done]
        for strike in planned:
            self._left.put(strike)
        self._planned = len(planned)
        self._say(f"{len(planned)} strikes to make, {len(done)} made before")
        # Waiting for a future, and not for a thread: a thread of which an interrupt ends the join counts as ended from then on.
        with ThreadPoolExecutor(max(1, min(workers, len(planned)))) as pool:
            working = [pool.submit(self._work) for _ in range(min(workers, len(planned)))]
            try:
                wait(working)
            except KeyboardInterrupt:
                self._say("interrupted: the strikes under way are still made")
                self._stopped.set()
                wait(working)

    def _work(self) -> None:
        """Make strikes until none is left; an environment that cannot be used any more is replaced."""
        while not self._stopped.is_set() and not self._left.empty():
            self._work_on_one()

    def _work_on_one(self) -> None:
        try:
            with self._stage(self._new_root(), self._artifacts) as scene:
                self._strike_on(scene)
        except Exception:  # noqa: BLE001  # whatever it was, it is told, and the other strikes are made
            self._given_up += 1
            self._say(f"an environment was given up:\n{traceback.format_exc()[-TOLD:]}")
            if self._given_up >= GIVEN_UP_AT_MOST:
                self._say(f"that is {self._given_up} of them; run again to go on")
                self._stopped.set()

    def _strike_on(self, scene: Scene) -> None:
        while not self._stopped.is_set():
            try:
                strike = self._left.get_nowait()
            except queue.Empty:
                return
            try:
                outcome = examine(scene, strike)
            except Exception as error:
                problem = f"the strike could not be judged: {str(error)[:200]}"
                self._finish(Outcome.of(strike, problems=[problem], details=traceback.format_exc()))
                raise
            self._finish(outcome)

    def _finish(self, outcome: Outcome) -> None:
        if self._stopped.is_set() and outcome.problems:
            return  # a terminal's Ctrl-C has reached the playbooks too
        self._results.add(outcome)
        self._made += 1
        failures = sum(bool(one.problems) for one in self._results.outcomes)
        left = (time.monotonic() - self._begun) / self._made * (self._planned - self._made)
        self._say(
            f"[{self._made:>5}/{self._planned}] {'FAILED' if outcome.problems else 'ok':<6} {outcome.name}  "
            f"{outcome.seconds:.0f} s; failures {failures}; {left / 60:.0f} min left"
        )
        for problem in outcome.problems:
            self._say(f"        {problem}")

    def _new_root(self) -> Path:
        with self._talk:
            self._environments += 1
            return self._root / f"{self._environments}"

    def _say(self, text: str) -> None:
        with self._talk:
            print(text, flush=True)
