"""The figures of switches and reloads as a page to read."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence

from tests.bench.storm_scene import Programs, may_hold
from tests.bench.switch_figures import SWITCHES, Figure, How
from tests.e2e.environment import ROOT

__all__ = ["render"]

EXPLANATION = """\
Each load balancer, as its role configures it, sends requests to an app that costs next to nothing. {processes} processes of clients ask
{rate:.0f} times a second together, whatever the answers take: half of the requests over connections that are kept, half over fresh ones.
They write down every request. Meanwhile `lb_switch`'s driver switches {actions} times, {pause:g} s apart; then the load balancer is
reloaded {actions} times, and nothing is switched. All of that, and the driver, share {cores} cores (load {load:.1f} when this was
written)."""
WORDS = """\
- **failed**: no whole answer with status 200. Nothing is tried again, but for the next case.
- **sent again**: a kept connection was closed after the client had asked, and before a byte of the answer came. Then the client asks once
  again over a new connection, as browsers do for requests that may be repeated; a POST would be lost. A switch never does that, and it
  counts as a failure there. A reload of a load balancer that closes idle connections can: the two cross on the way.
- Each time that Caddy loads a configuration, it turns away who is just connecting, and no setting is known with which it does not. So its
  role has nobody connect meanwhile, where it has set up the service and finds nftables: clients' hosts try again after a second. {caddy}
- **stale**: began after a switch had ended, and was answered by the slot before.
- **skew**: from the first answer of the new slot to the last one of the old one, which is what was in flight.
- **before**: {quiet:g} s in which nothing was done."""
HELD = "So it was done here."
NOT_HELD = "That takes root and nft, and was not done here."
HEAD = (
    "load balancer",
    "what",
    "each (s)",
    "requests",
    "fresh",
    "a second",
    "failed",
    "sent again",
    "stale",
    "p50/p99 before (ms)",
    "p50/p99 during (ms)",
    "skew, median/longest (ms)",
)


def render(figures: Sequence[Figure], programs: Programs, how: How, *, command: str) -> str:
    """Return the report in Markdown; ``command`` is how it is made."""
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    lines = [HEAD, ("---",) * len(HEAD), *(_row(one) for one in figures)]
    wrong = [f"- {one.scene}, {one.what}: {said}" for one in figures for said in (*one.complaints, *one.reasons)]
    explanation = EXPLANATION.format(
        processes=2 * how.processes,
        rate=how.rate,
        actions=how.actions,
        pause=how.pause,
        cores=os.cpu_count(),
        load=os.getloadavg()[0],
    )
    return "\n\n".join(
        [
            "# What switches and reloads cost",
            f"Made by `{command}` on {time.strftime('%Y-%m-%d', time.gmtime())}, commit {commit}; do not edit.",
            f"With {_version(programs.haproxy, '-v')}, {_version(programs.nginx, '-v')} and {_version(programs.caddy, 'version')}.",
            explanation,
            "\n".join(f"| {' | '.join(line)} |" for line in lines),
            *(["What is not as it has to be:", "\n".join(wrong)] if wrong else []),
            WORDS.format(quiet=how.quiet, caddy=HELD if may_hold() else NOT_HELD) + "\n",
        ]
    )


def _version(program: str, option: str) -> str:
    done = subprocess.run([program, option], capture_output=True, text=True, check=True)
    first = (done.stdout + done.stderr).strip().splitlines()[0]
    words = first.removeprefix("nginx version: ").split()
    return f"Caddy {words[0]}" if words[0].startswith("v") else words[0] if "/" in words[0] else " ".join(words[:3])


def _row(one: Figure) -> tuple[str, ...]:
    return (
        one.scene,
        f"{one.actions} {one.what}",
        f"{one.seconds_each:.2f}",
        f"{one.requests:,}",
        f"{one.fresh:,}",
        f"{one.rate:.0f}",
        _bold(one.failed),
        _bold(one.again) if one.what == SWITCHES else str(one.again),
        _bold(one.stale),
        f"{one.before[0]:.1f}/{one.before[1]:.1f}",
        f"{one.during[0]:.1f}/{one.during[1]:.1f}",
        "" if one.skew is None else f"{one.skew[0]:.1f}/{one.skew[1]:.1f}",
    )


def _bold(number: int) -> str:
    return f"**{number}**" if number else "0"
