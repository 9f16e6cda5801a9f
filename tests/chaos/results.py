"""The file of results: a header, the tasks that were recorded, and one line for each strike, so that a run can go on where it ended."""

from __future__ import annotations

import json
import platform
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.chaos.oracle import Outcome
from tests.chaos.recording import Occurrence
from tests.e2e.environment import ROOT

__all__ = ["Results", "ResultsError", "header"]


class ResultsError(Exception):
    """The file belongs to another run."""


def header(seed: int, *, fleet: bool = False) -> dict[str, Any]:
    """Return what a run is known by: results of different ones, and of fleets and others, do not go into one file."""
    described = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    done = subprocess.run(described, cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "commit": done.stdout.strip() or "unknown",
        "seed": seed,
        "ansible-core": metadata.version("ansible-core"),
        "python": platform.python_version(),
        **({"hosts": "a fleet"} if fleet else {}),
    }


@dataclass
class Results:
    """What is known so far; every addition goes to the file at once."""

    path: Path
    header: dict[str, Any]
    recordings: dict[str, list[Occurrence]] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def load(cls, path: Path, wanted: dict[str, Any] | None = None, *, any_commit: bool = False) -> Results:
        """Read the file, or begin it where there is none.

        Args:
            path: the file.
            wanted: the header that it has to have; None for any.
            any_commit: whether to go on with the results of other commits.

        Raises:
            ResultsError: the file has another header, or is not there and no header is wanted.
        """
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        if not lines and wanted is None:
            raise ResultsError(
                f"Found: no results in {path}. Expected: those of a run. To do: python -m tests.chaos --all"
            )
        found: dict[str, Any] = lines[0] if lines else wanted or {}
        header = {**found, "commit": wanted["commit"]} if any_commit and wanted else found
        if wanted not in (None, header):
            raise ResultsError(
                f"Found: {path} holds results of {found}. Expected: {wanted}. To do: move it away, or name another file with --results."
            )
        results = cls(path, header)
        if not lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            results._append(results.header)
        for line in lines[1:]:
            if "recording" in line:
                results.recordings[line["recording"]] = [
                    Occurrence(**{**one, "hosts": tuple(one["hosts"])}) for one in line["tasks"]
                ]
            else:
                results.outcomes.append(Outcome(**line))
        return results

    def record(self, procedure: str, tasks: Sequence[Occurrence]) -> None:
        """Keep the tasks of a procedure."""
        with self._lock:
            self.recordings[procedure] = list(tasks)
            self._append({"recording": procedure, "tasks": [asdict(one) for one in tasks]})

    def add(self, outcome: Outcome) -> None:
        """Keep what came of a strike."""
        outcome.commit = self.header["commit"]
        with self._lock:
            self.outcomes.append(outcome)
            self._append(outcome.as_line())

    def done(self) -> set[str]:
        """Return the names of the strikes that were made."""
        return {outcome.name for outcome in self.outcomes}

    def _append(self, line: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
