"""The environment that one strike after another is made on: each begins with a proven version live."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from ansible_collections.baton.release.plugins.module_utils.journal import fold
from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS, other

from tests.chaos import migrations
from tests.chaos.controller import Controller
from tests.chaos.ground import Ground, journal
from tests.chaos.procedures import Procedure
from tests.chaos.recording import Occurrence
from tests.chaos.strike import Strike
from tests.chaos.truth import look
from tests.e2e.environment import PLAYBOOK_SECONDS, WITNESS_SECONDS, Environment, Played
from tests.witness.process import Witness

__all__ = ["Fallen", "Scene", "SceneError"]

REQUESTS_A_SECOND = 25  # more of them only take the processors from the playbooks
START_SECONDS = 400.0
DEATH_SECONDS = 30.0
KEPT_ARTIFACTS = 12
# Healthy, ready, and of no use: only traffic shows it.
BROKEN = {"shop/catalogue.py": "\n\nCatalogue.list_products = lambda self, request: 1 / 0\n"}


class SceneError(Exception):
    """The environment cannot be brought to where the next strike begins."""


@dataclass(frozen=True)
class Fallen:
    """A controller that was struck: its exit code, None where it never came to the task or would not die."""

    run: str
    code: int | None
    output: str
    in_task: bool
    """Whether the task had begun, and not ended on all of its hosts."""
    orphans: list[int]
    """Pids of what lives on of the run."""


class Scene:
    """An environment, with versions that each bring a migration of their own."""

    def __init__(self, shop: Environment, ground: Ground) -> None:
        """Take an environment that may have been used before.

        Args:
            shop: what playbooks are run on.
            ground: its hosts, where the truth is read from.
        """
        self.shop = shop
        self.ground = ground
        self._migrations = 0

    def new_version(self, *, edits: dict[str, str] | None = None) -> str:
        """Make a version with a migration of its own, and all that came before it."""
        self._migrations += 1
        version = self.shop.new_version(edits={**migrations.files(self._migrations), **(edits or {})})
        made = sorted(self.shop.root.glob("artifacts/shop-v9.*.tar.gz"), key=lambda path: path.stat().st_mtime)
        for path in made[:-KEPT_ARTIFACTS]:
            path.unlink()
        return version

    def settle(self) -> None:
        """Bring a new version, proven, in a slot, with the one before it hot beside it.

        Raises:
            SceneError: that did not go well.
        """
        if not look(self.ground).live:
            # A strike after which not all was well; the next ones begin with one slot live all the same.
            self.shop.play("rollback")
        played = self.shop.release(self.new_version())
        if played.code != 0:
            raise SceneError(f"a release between two strikes failed:\n{played.output}")

    def prepare(self, procedure: Procedure) -> str:
        """Have a proven version live, one to go back to, and what the procedure needs; return the version that it is to bring."""
        if not self.settled() or not self.version_before(*look(self.ground).served):
            self.settle()
        if procedure.goal in ("new", "bad"):
            return self.new_version(edits=BROKEN if procedure.goal == "bad" else {})
        goal = self._hot() if procedure.goal == "hot" else self._warm()
        if not goal:
            self.settle()
            goal = self._hot() if procedure.goal == "hot" else self._warm()
        if not goal:
            raise SceneError(f"there is no version for a {procedure.name}: {look(self.ground)}")
        return goal

    def settled(self) -> bool:
        """Say whether one proven version is live, in one slot of all hosts, and nobody holds the lock."""
        truth = look(self.ground)
        versions = truth.versions(truth.live)
        one = versions.pop() if len(versions) == 1 else ""
        return bool(one) and truth.served == {one} and self._proven(one) and not truth.lease[1]

    def _hot(self) -> str:
        truth = look(self.ground)
        versions = truth.versions(other(truth.live))
        one = versions.pop() if len(versions) == 1 else ""
        return one if one and self._proven(one) else ""

    def _warm(self) -> str:
        in_slots = {self._in_slot(host, slot) for host in self.ground.apps for slot in SLOTS}
        proven = [version for run in self.history() if (version := run["version"]) not in in_slots]
        return next((version for version in proven if self._proven(version)), "")

    def _in_slot(self, host: str, slot: str) -> str:
        record = self.ground.text(host, "app", f"slots/{slot}/slot.json")
        return str(json.loads(record).get("version")) if record else ""

    def _proven(self, version: str) -> bool:
        marks = [self.ground.text(host, "app", f"releases/{version}/.baton-release.json") for host in self.ground.apps]
        return all(mark and json.loads(mark).get("verified_at") for mark in marks)

    def history(self) -> list[dict[str, Any]]:
        """Return the runs in the journal, the newest first."""
        return [run for run in fold(journal(self.ground)) if run.get("version")]

    def version_before(self, version: str) -> str:
        """Return what was live before ``version`` came by a release."""
        found = (
            run["from_version"] for run in self.history() if (run["action"], run["version"]) == ("release", version)
        )
        return next((before for before in found if before), "")

    def arguments(self, procedure: Procedure, goal: str) -> dict[str, Any]:
        """Return the variables with which the procedure brings ``goal``."""
        return {**procedure.variables, f"{procedure.playbook}_version": goal}

    def clients(self) -> dict[str, Witness]:
        """Return a client of each load balancer, which writes down every request; it is not started yet."""
        return {
            balancer: Witness(
                self.ground.url(balancer),
                self.shop.root / "ledgers" / f"{balancer}-{time.time_ns()}.jsonl",
                seconds=WITNESS_SECONDS,
                rate=REQUESTS_A_SECOND,
                paths=self.ground.paths,
            )
            for balancer in self.ground.balancers
        }

    def record(self, procedure: Procedure, goal: str) -> tuple[Played, list[Occurrence]]:
        """Run the procedure undisturbed; return its tasks in their order."""
        arguments = self.arguments(procedure, goal)
        with Controller(self.shop, procedure.playbook, arguments, at=None, warm=True) as controller:
            controller.ended(PLAYBOOK_SECONDS)
        return controller.played(), controller.recording()

    def fell(self, strike: Strike, procedure: Procedure, goal: str) -> Fallen:
        """Run the procedure until the strike kills it."""
        task, moment, warm = strike.occurrence, strike.moment, strike.moment == "before"
        arguments = self.arguments(procedure, goal)
        # Held before a task, no module is under way that could live on, so they may be the quick ones.
        with Controller(self.shop, procedure.playbook, arguments, at=task, moment=moment, warm=warm) as controller:
            reached = controller.reached(START_SECONDS)
            time.sleep(strike.delay if moment == "middle" and reached else 0)
            controller.send(strike.death.signal, group=strike.death.to_group)
            code = controller.ended(DEATH_SECONDS)
            orphans = controller.orphans() if code is not None else []
        ended = [one.hosts for one in controller.recording() if (one.task, one.nth) == (task.task, task.nth)]
        return Fallen(
            run=controller.run,
            code=code if reached else None,
            output=controller.played().output,
            in_task=moment != "before" and ended != [task.hosts],
            orphans=orphans,
        )
