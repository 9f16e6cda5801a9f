"""Switches and reloads of each load balancer under hundreds of requests a second: ``python -m tests.bench.switches --help``.

Exit codes: 0 no request failed, 1 one did, or there were fewer than 500 a second.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

# pytest does this too, as pyproject.toml says.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "playbooks" / "collections"))

from tests.bench.storm_scene import SCENES, Programs  # after the path
from tests.bench.switch_figures import Figure, How, measure
from tests.bench.switch_report import render

PATH = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin"


def main() -> int:
    """Measure each load balancer, and write the report."""
    options = _parser().parse_args()
    how = How(options.actions, options.pause, options.quiet, options.rate, options.processes)
    programs = Programs(_found("haproxy", options.haproxy), _found("nginx", options.nginx), _found("caddy", ""))
    figures: list[Figure] = []
    for number, scene in enumerate(options.scenes):
        print(f"== {scene}", flush=True)
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            ledgers = (options.ledgers or Path(directory)) / f"ledgers-{number}"
            ledgers.mkdir(parents=True, exist_ok=True)
            place = Path(directory) / "balancer"
            place.mkdir()
            figures += measure(scene, programs, place, ledgers, how)
    report = render(figures, programs, how, command=shlex.join(["python", "-m", "tests.bench.switches", *sys.argv[1:]]))
    print(report)
    if options.report:
        options.report.parent.mkdir(exist_ok=True)
        options.report.write_text(report)
    return 1 if any(one.complaints for one in figures) else 0


def _found(name: str, given: str) -> str:
    found = shutil.which(given or name, path=PATH)
    if found is None:
        sys.exit(f"{given or name} is not there: install it, or name it with --{name}")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.switches", description=__doc__)
    names = list(SCENES)
    parser.add_argument("--scenes", nargs="+", choices=names, default=names, help="load balancers (all)")
    parser.add_argument("--actions", type=int, default=20, help="switches, and reloads, of each (20)")
    parser.add_argument(
        "--pause", type=float, default=1.5, help="seconds between them, longer than clients take to connect again (1.5)"
    )
    parser.add_argument("--quiet", type=float, default=5.0, help="seconds before, for comparison (5)")
    parser.add_argument("--rate", type=float, default=600.0, help="requests a second (600)")
    parser.add_argument("--processes", type=int, default=2, help="processes of clients of each kind (2)")
    parser.add_argument("--haproxy", default="", help="the program haproxy (the one in the path)")
    parser.add_argument("--nginx", default="", help="the program nginx (the one in the path)")
    parser.add_argument("--ledgers", type=Path, help="directory to keep every request in")
    parser.add_argument("--report", type=Path, help="Markdown file to write, such as docs/bench_switches.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
