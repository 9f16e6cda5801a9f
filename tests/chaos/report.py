"""The results as a page to read: task by signal and moment, and what happened."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tests.chaos.oracle import Outcome
from tests.chaos.recording import Occurrence
from tests.chaos.results import Results
from tests.chaos.strike import DEATHS, MOMENTS, every

__all__ = ["render"]

DETAILS_SHOWN = 30
EXPLANATION = """\
A recording run finds the tasks of each procedure. Then the controller is struck at each of them, before the task and in the middle
of it: SIGKILL to its process group (as ansible-runner and AWX cancel), SIGTERM to the process, SIGINT to its group (Ctrl-C). All
the while a client outside sends requests and writes down every answer. What lives on of the run is in half of the strikes paused
for a while, so that it writes late. Then

- `status.yml` must succeed and say what is live, what runs in each slot of each host and who holds the lock, as their own answers do;
- one run of the same command must finish the procedure, and a further run change nothing; or one run of `rollback.yml` must bring
  back the version before (both ways, in strikes of their own);
- no request may have failed, no other version may have answered, and each migration must have been applied once or not at all.

A bad version fails in the watch and is taken back; what it answered itself until then is counted apart."""


def render(results: Results, *, command: str) -> str:
    """Return the report in Markdown; ``command`` is how it is made."""
    outcomes = results.outcomes
    blocks = [
        "# Death at every step",
        f"Made by `{command}` on {time.strftime('%Y-%m-%d', time.gmtime())}; do not edit.",
        EXPLANATION,
        "## In total",
        _table(["what", "how many"], _totals(results)),
    ]
    for procedure, tasks in results.recordings.items():
        own = [outcome for outcome in outcomes if outcome.procedure == procedure]
        if own:
            blocks += [f"## {procedure[0].upper()}{procedure[1:]}", _grid(tasks, own)]
    blocks += ["## What was not as it has to be", *_failures(outcomes)]
    return "\n\n".join(blocks) + "\n"


def _totals(results: Results) -> Iterator[tuple[str, object]]:
    outcomes = results.outcomes
    yield "strikes (number of runs that were struck)", len(outcomes)
    yield (
        "... of as many as there can be",
        sum(1 for name, tasks in results.recordings.items() for _ in every(name, tasks, seed=0)),
    )
    yield "tasks that do something on a host, and those of them that were struck", _struck(results)
    yield "... that were as they have to be", sum(not outcome.problems for outcome in outcomes)
    yield "requests of the client outside", sum(outcome.requests for outcome in outcomes)
    yield "**failed requests**", sum(outcome.failed for outcome in outcomes)
    yield "... answered 5xx by a bad version itself", sum(outcome.failed_by_bad_version for outcome in outcomes)
    yield "**runs to converge**", _range(outcome.runs_to_converge for outcome in outcomes)
    yield "**doubled or lost migrations**", sum(outcome.migrations_wrong for outcome in outcomes)
    yield "strikes that hit a task while it ran", sum(outcome.in_task for outcome in outcomes)
    yield "processes that lived on after a death", sum(outcome.orphans for outcome in outcomes)
    for commit, number in Counter(outcome.commit for outcome in outcomes).items():
        yield f"strikes at commit {commit}", number
    yield from ((name, value) for name, value in results.header.items() if name != "commit")


def _struck(results: Results) -> str:
    tasks = {
        (name, str(task))
        for name, recorded in results.recordings.items()
        for task in recorded
        if task.remote and task.hosts
    }
    struck = {(outcome.procedure, outcome.task) for outcome in results.outcomes}
    return f"{len(tasks)}, {len(tasks & struck)}"


def _grid(tasks: Sequence[Occurrence], outcomes: Sequence[Outcome]) -> str:
    columns = list(itertools.product(MOMENTS, DEATHS))
    names = [f"{moment} {death.name}" for moment, death in columns]
    rows = []
    for task in tasks:
        own = [outcome for outcome in outcomes if outcome.task == str(task)]
        if own:
            cells = [
                [one for one in own if (one.moment, one.death) == (moment, death.name)] for moment, death in columns
            ]
            rows.append((str(task), *map(_cell, cells), *_sums(own)))
    return _table(
        ["task", *names, "served after the death", "failed requests", "runs to converge", "migrations wrong"], rows
    )


def _cell(outcomes: Sequence[Outcome]) -> str:
    bad = sum(bool(outcome.problems) for outcome in outcomes)
    return f"**{bad} of {len(outcomes)} failed**" if bad else f"{len(outcomes)} well" if outcomes else ""


def _sums(outcomes: Sequence[Outcome]) -> tuple[object, ...]:
    return (
        ", ".join(sorted({outcome.served for outcome in outcomes if outcome.served})),
        sum(outcome.failed for outcome in outcomes),
        _range(outcome.runs_to_converge for outcome in outcomes),
        sum(outcome.migrations_wrong for outcome in outcomes),
    )


def _range(numbers: Iterable[int]) -> str:
    known = sorted(set(numbers))
    return " to ".join(map(str, dict.fromkeys([known[0], known[-1]]))) if known else "-"


def _failures(outcomes: Sequence[Outcome]) -> Iterator[str]:
    failed = [outcome for outcome in outcomes if outcome.problems]
    if not failed:
        yield "Nothing."
    for outcome in failed[:DETAILS_SHOWN]:
        yield "\n".join(
            [
                f"- {outcome.name} (fraction {outcome.fraction}, exit code {outcome.code})",
                *(f"  - {one}" for one in outcome.problems),
            ]
        )
    if len(failed) > DETAILS_SHOWN:
        yield f"... and {len(failed) - DETAILS_SHOWN} more."


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
