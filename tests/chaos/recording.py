"""A recording run finds the tasks of a procedure: nobody keeps a list of them by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Occurrence", "first", "read"]


@dataclass(frozen=True)
class Occurrence:
    """A task that was started: the ``nth`` of this name, on the hosts that did not skip it, for ``seconds``."""

    task: str
    nth: int
    action: str
    hosts: tuple[str, ...]
    seconds: float
    remote: bool = True
    """Whether it does anything on a host; a task of the controller alone leaves the targets as they are."""

    def __str__(self) -> str:
        """Return the name by which it is found again."""
        return self.task if self.nth == 1 else f"{self.task} ({self.nth})"


def read(path: Path) -> list[Occurrence]:
    """Return the occurrences that the callback ``saboteur`` wrote down, in their order."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    found = []
    for start in (line for line in lines if line["event"] == "start"):
        ends = [line for line in lines if line["event"] == "end" and _same(line, start)]
        hosts = tuple(sorted({line["host"] for line in ends if line["outcome"] != "skipped"}))
        last = max((line["at"] for line in ends), default=start["at"])
        found.append(
            Occurrence(start["task"], start["nth"], start["action"], hosts, last - start["at"], start["remote"])
        )
    return found


def first(tasks: Sequence[Occurrence], name: str) -> Occurrence:
    """Return the first task of this name that does something itself: an include may have the same name.

    Raises:
        LookupError: there is none.
    """
    found = [task for task in tasks if task.task == name and not task.action.startswith("include_")]
    if not found:
        raise LookupError(f"no task {name!r} among {', '.join(map(str, tasks))}")
    return found[0]


def _same(one: dict[str, object], other: dict[str, object]) -> bool:
    return (one["task"], one["nth"]) == (other["task"], other["nth"])
