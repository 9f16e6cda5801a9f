"""One run of a playbook that can be held, paused and killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping
from typing import Any, Self

from tests.chaos import processes
from tests.chaos.recording import Occurrence, read
from tests.chaos.strike import Moment
from tests.e2e.environment import ROOT, Environment, Played

__all__ = ["Controller"]

POLL_SECONDS = 0.002
HOLDER_ENDS_SECONDS = 0.6
# What the callback does where the run is to tell that it has come there; held, it waits until the file is removed.
TELL = "echo $$ > {marker}.new; mv {marker}.new {marker}"
HOLD = TELL + "; while [ -e {marker} ]; do sleep 0.2; done"


class Controller:
    """A playbook in a process group of its own; use it as a context manager, and nothing of it is left running."""

    def __init__(
        self,
        shop: Environment,
        playbook: str,
        variables: Mapping[str, Any],
        *,
        at: Occurrence | None,
        moment: Moment = "before",
        warm: bool = False,
    ) -> None:
        """Say where the run tells that it has come there.

        Args:
            shop: the environment that it runs on.
            playbook: name of the playbook.
            variables: extra variables of the run.
            at: the run tells when it comes to this task; None for a run that nothing disturbs.
            moment: it is held before the task, or between its first two workers; in its middle it tells of the first one, and goes on.
            warm: its modules are forks of the warm Python, quickly made, and do not bear the run's mark.
        """
        self.run = uuid.uuid4().hex
        self._directory = shop.root / "controllers" / self.run
        self._marker = self._directory / "reached"
        self._holds = moment != "middle"
        # A job of a shell in the background ignores SIGINT, and so would all that it starts.
        self._command = ["env", "--default-signal=INT", *shop.command(playbook, **variables)]
        more = {
            "BATON_RECORDING": str(self._directory / "recording.jsonl"),
            "BATON_STARTED": str(self._directory / "started"),
            processes.MARK: self.run,
            **({} if warm else {"BATON_TEST_WARM": "", "BATON_TEST_MODULES": ""}),
        }
        if at:
            more |= {
                "BATON_SABOTAGE": (HOLD if self._holds else TELL).format(marker=self._marker),
                "BATON_SABOTAGE_BEFORE": at.task,
                "BATON_SABOTAGE_NTH": str(at.nth),
            }
        if moment != "before":
            more["BATON_SABOTAGE_WORKER"] = "1" if moment == "middle" else "2"
        self._variables = shop.variables(self._directory / "tasks.jsonl", **more)

    @property
    def started(self) -> list[str]:
        """The host of each module that was started, in their order."""
        path = self._directory / "started"
        return path.read_text().split() if path.exists() else []

    def __enter__(self) -> Self:
        """Start the run."""
        self._directory.mkdir(parents=True)
        with (self._directory / "output").open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        """End the run if it has not ended; what it leaves behind is for those to end who let it live on."""
        if self._process.poll() is None:
            self.send(signal.SIGKILL, group=True)
            self._process.wait()
        self.go_on()

    @property
    def pid(self) -> int:
        """The pid of ansible-playbook."""
        return self._process.pid

    def reached(self, seconds: float) -> bool:
        """Wait until the run has come to its place; say whether it did."""
        deadline = time.monotonic() + seconds
        while not self._marker.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def go_on(self) -> None:
        """Let a run that is held go on."""
        self._marker.unlink(missing_ok=True)

    def send(self, what: signal.Signals, *, group: bool) -> None:
        """Send a signal to ansible-playbook, or to its group."""
        with contextlib.suppress(ProcessLookupError):  # it had just ended by itself; its exit code says so
            (os.killpg if group else os.kill)(self.pid, what)

    def everything(self, what: signal.Signals) -> None:
        """Send a signal to every process of the run, the workers that have left its group too."""
        processes.send(processes.of_run(self.run), what)

    def orphans(self) -> list[int]:
        """Return the pids of what lives on of a run that has ended; the shell that held it is none of it."""
        self.go_on()
        return processes.await_end(self.run, seconds=HOLDER_ENDS_SECONDS if self._holds else 0)

    def ended(self, seconds: float) -> int | None:
        """Wait for the end; return the exit code, or None when it has not come."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def played(self) -> Played:
        """Return the exit code, the output and the results of tasks as far as there are any."""
        tasks = self._directory / "tasks.jsonl"
        lines = tasks.read_text().splitlines() if tasks.exists() else []
        output = (self._directory / "output").read_text(errors="replace")
        return Played(self._process.poll() or 0, output, [json.loads(line) for line in lines])

    def recording(self) -> list[Occurrence]:
        """Return the tasks that the run came to."""
        return read(self._directory / "recording.jsonl")
