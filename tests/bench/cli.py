"""The command line of the benchmark. Exit codes: 0 measured, 1 something failed, 2 there can be no fleet here."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.measure import Figures, measure
from tests.bench.report import render
from tests.e2e.conftest import build
from tests.e2e.environment import ROOT
from tests.fleet import engine, lifecycle
from tests.fleet.prod import Sized
from tests.fleet.shape import Shape

__all__ = ["main"]


def main() -> int:
    """Measure each size, and write the report."""
    options = _parser().parse_args()
    if reason := engine.unavailable():
        print(reason, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        artifacts = _artifacts(Path(directory))
        figures = [_of_size(number, Path(directory), artifacts) for number in options.hosts]
    engine.stop_idle()
    command = shlex.join(["python", "-m", "tests.bench", *sys.argv[1:]])
    report = render(figures, command=command, commit=_commit())
    print(report)
    if options.report:
        options.report.parent.mkdir(exist_ok=True)
        options.report.write_text(report)
    return 1 if any(one.release.failed + one.rollback.failed for one in figures) else 0


def _of_size(number: int, directory: Path, artifacts: Path) -> Figures:
    name, root = f"baton-bench-{os.getpid()}", directory / f"fleet-{number}"
    print(f"== {number} app hosts", flush=True)
    try:
        fleet = lifecycle.up(Shape(app=number), name=name, root=root)
        return measure(Sized(fleet, directory / f"shop-{number}", artifacts))
    finally:
        lifecycle.down(name=name, root=root)


def _artifacts(directory: Path) -> Path:
    if os.environ.get("BATON_TEST_ARTIFACTS"):
        return Path(os.environ["BATON_TEST_ARTIFACTS"])
    print("== building the shop", flush=True)
    build(directory / "builds")
    return directory / "builds" / "artifacts"


def _commit() -> str:
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--hosts", type=int, nargs="+", default=[1, 3, 10, 40], help="app hosts of each fleet (1 3 10 40)"
    )
    parser.add_argument("--report", type=Path, help="Markdown file to write, such as docs/bench.md")
    return parser
