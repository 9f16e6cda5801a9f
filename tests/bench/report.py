"""The figures as a page to read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from tests.bench.measure import Figures

__all__ = ["render"]

EXPLANATION = """\
App hosts are containers with systemd, reached over SSH as `deploy` with sudo and configured by `inventories/prod`; two HAProxys stand
before them, each with a client of 60 requests a second outside that writes down every answer. All of them, and Ansible, share the
{cores} cores of one machine: with more hosts it is these that are short, for the plain scripts as for the release.

The plain scripts are the practical limit: one shell script for each host, all at once over ssh, that unpacks the same artifact, starts it
and waits until it is ready. They lock nothing, move no traffic, watch nothing and cannot go back."""

Row = tuple[str, Callable[[Figures], str]]
ROWS: Sequence[Row] = (
    ("a whole release, 2 s of watching included (s)", lambda one: f"{one.release_seconds:.1f}"),
    ("`rollback.yml`, hot (s)", lambda one: f"{one.rollback_seconds:.1f}"),
    (
        "... from the command to the last answer of the old version (s)",
        lambda one: f"{one.rollback.seconds_to_last_old:.1f}",
    ),
    ("... of which Ansible's own start, a playbook that does nothing (s)", lambda one: f"{one.ansible_seconds:.1f}"),
    ("plain scripts, median of 3 (s)", lambda one: f"{one.plain_seconds:.1f}"),
    ("a release against the plain scripts", lambda one: f"{one.release_seconds / one.plain_seconds:.1f} times"),
    ("remote task executions of a release, per app host", lambda one: f"{one.calls_per_app_host:.1f}"),
    ("... per load balancer", lambda one: f"{one.calls_per_balancer:.1f}"),
    ("skew of the switch, both load balancers (ms)", lambda one: f"{one.release.skew_ms:.0f}"),
    ("... at the slower one of them (ms)", lambda one: f"{one.release.worst_balancer_ms:.0f}"),
    ("... of the rollback's, both (ms)", lambda one: f"{one.rollback.skew_ms:.0f}"),
    ("requests of the clients", lambda one: f"{one.release.requests + one.rollback.requests}"),
    ("**failed requests**", lambda one: f"{one.release.failed + one.rollback.failed}"),
    ("p99 before the release (ms)", lambda one: f"{one.release.p99_before:.0f}"),
    ("p99 within a second of the switch (ms)", lambda one: f"{one.release.p99_during:.0f}"),
)


def render(figures: Sequence[Figures], *, command: str, commit: str) -> str:
    """Return the report in Markdown; ``command`` is how it is made."""
    head = ["app hosts", *(str(one.hosts) for one in figures)]
    lines = [head, ["---"] * len(head), *([name, *map(shown, figures)] for name, shown in ROWS)]
    return "\n\n".join(
        [
            "# What a release costs",
            f"Made by `{command}` on {time.strftime('%Y-%m-%d', time.gmtime())}, commit {commit}; do not edit.",
            EXPLANATION.format(cores=os.cpu_count()),
            "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n",
        ]
    )
