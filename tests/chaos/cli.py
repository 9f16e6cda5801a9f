"""Strike at every task: ``python -m tests.chaos --all``. Exit codes: 0 all well, 1 a strike failed, 2 not possible.

A run that was interrupted goes on where it ended; the same seed makes the same strikes.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.campaign import Campaign, embedded
from tests.chaos.procedures import PROCEDURES
from tests.chaos.report import render
from tests.chaos.results import Results, ResultsError, header
from tests.e2e.conftest import build
from tests.e2e.environment import ROOT
from tests.fleet.strikes import on_a_fleet

__all__ = ["main"]

CACHE = ROOT / ".cache" / "chaos"


def main() -> int:
    """Make the strikes that were asked for, and the report."""
    options = _parser().parse_args()
    # Environments are taken down in the end, however it comes; a job in the background would ignore SIGINT.
    for interrupt in (signal.SIGINT, signal.SIGTERM):
        signal.signal(interrupt, signal.default_int_handler)
    try:
        path = options.results or CACHE / ("fleets.jsonl" if options.fleet else "results.jsonl")
        results = Results.load(path, header(options.seed, fleet=options.fleet), any_commit=options.any_commit)
    except ResultsError as error:
        print(error, file=sys.stderr)
        return 2
    procedures = [one for one in PROCEDURES if one.name in options.procedures]
    root = Path(tempfile.mkdtemp(prefix="chaos-"))
    print(f"== environments in {root}, results in {results.path}", flush=True)
    stage = on_a_fleet if options.fleet else embedded
    campaign = Campaign(results, stage, root=root, artifacts=_artifacts(root), seed=options.seed)
    campaign.record(procedures)
    campaign.run(procedures, workers=options.workers, limit=None if options.all else options.limit)
    if options.report:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        options.report.write_text(render(results, command=shlex.join(["python", "-m", "tests.chaos", *sys.argv[1:]])))
    failed = sum(bool(outcome.problems) for outcome in results.outcomes)
    print(f"== {len(results.outcomes)} strikes, {failed} failed")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    names = [procedure.name for procedure in PROCEDURES]
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    much = parser.add_mutually_exclusive_group()
    much.add_argument("--all", action="store_true", help="every task, signal, moment and way out")
    much.add_argument(
        "--limit", type=int, default=20, help="so many of them, spread over all tasks, by the seed (%(default)d)"
    )
    parser.add_argument("--seed", type=int, default=1, help="(%(default)d)")
    parser.add_argument("--workers", type=int, default=2, help="environments at once (%(default)d)")
    parser.add_argument(
        "--procedures", nargs="+", metavar="NAME", choices=names, default=names, help=f"of: {', '.join(names)}"
    )
    parser.add_argument(
        "--fleet", action="store_true", help="on fleets with two HAProxys, of which each takes most of a machine"
    )
    parser.add_argument("--results", type=Path, help=f"({CACHE}/results.jsonl, or fleets.jsonl)")
    parser.add_argument(
        "--any-commit", action="store_true", help="go on with results of other commits, which the report names"
    )
    parser.add_argument("--report", type=Path, help="Markdown file to write, such as docs/chaos.md")
    return parser


def _artifacts(root: Path) -> Path:
    if os.environ.get("BATON_TEST_ARTIFACTS"):
        return Path(os.environ["BATON_TEST_ARTIFACTS"])
    print("== building the shop", flush=True)
    build(root / "builds")
    return root / "builds" / "artifacts"
