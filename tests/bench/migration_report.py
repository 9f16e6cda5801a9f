"""The figures of migrations as a page to read."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence

from tests.bench.migration_figures import Cost, Figure
from tests.e2e.environment import ROOT

__all__ = ["render"]

EXPLANATION = """\
Each line is a process of its own, `db_migrate` as Ansible calls it on the host, without Ansible's own way there. The tool is the app's, the
database an embedded PostgreSQL on the same {cores} cores (load {load:.1f} when this was written). A rehearsal makes a server of its own,
goes up, down and up again, and compares. Processors is what the program and all that it started used, the server for the rehearsal
included: on a busy machine it says more than seconds do. Medians."""
HEAD = (
    "tool",
    "tables",
    "what",
    "bare (s)",
    "... processors (s)",
    "db_migrate (s)",
    "... processors (s)",
    "may take (s)",
    "",
)


def render(figures: Sequence[Figure], *, command: str) -> str:
    """Return the report in Markdown; ``command`` is how it is made."""
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    lines = [HEAD, ("---",) * len(HEAD), *(_row(one) for one in figures)]
    return "\n\n".join(
        [
            "# What migrations cost",
            f"Made by `{command}` on {time.strftime('%Y-%m-%d', time.gmtime())}, commit {commit}; do not edit.",
            EXPLANATION.format(cores=os.cpu_count(), load=os.getloadavg()[0]),
            "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n",
        ]
    )


def _row(one: Figure) -> tuple[str, ...]:
    bare, own = _cost(one.bare), _cost(one.own)
    verdict = "" if one.kept else "**longer**"
    return (one.tool, str(one.tables), one.what, *bare, *own, f"{one.allowed:.2f}", verdict)


def _cost(cost: Cost | None) -> tuple[str, str]:
    return ("", "") if cost is None else (f"{cost.wall:.2f}", f"{cost.cpu:.2f}")
