"""What migrations cost with db_migrate and with the bare tool, and what rehearsals cost: ``python -m tests.bench.migrations --help``.

Exit codes: 0 measured, 1 something took longer than it may.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from pathlib import Path

# pytest does this too, as pyproject.toml says.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "playbooks" / "collections"))

from tests.bench.migration_figures import TOOLS, Figure, measure  # after the path
from tests.bench.migration_report import render
from tests.postgres import postgres_server


def main() -> int:
    """Measure each tool with each size, and write the report."""
    options = _parser().parse_args()
    figures: list[Figure] = []
    for tool in options.tools:
        for tables in options.tables:
            with tempfile.TemporaryDirectory(prefix="bench-", dir=_memory()) as directory:
                print(f"== {tool}, {tables} tables", flush=True)
                root = Path(directory)
                (root / "app").mkdir()
                with postgres_server(root) as server:
                    first = tables == options.tables[0]
                    figures += measure(tool, tables, server, root / "app", runs=options.runs, bare=first)
    report = render(figures, command=shlex.join(["python", "-m", "tests.bench.migrations", *sys.argv[1:]]))
    print(report)
    if options.report:
        options.report.parent.mkdir(exist_ok=True)
        options.report.write_text(report)
    return 0 if all(one.kept for one in figures) else 1


def _memory() -> str | None:
    memory = Path("/dev/shm")  # noqa: S108  # a directory of its own is made in it
    return str(memory) if memory.is_dir() and os.access(memory, os.W_OK) else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.migrations", description=__doc__)
    parser.add_argument(
        "--tools", nargs="+", choices=sorted(TOOLS), default=sorted(TOOLS), help="migration tools (all)"
    )
    parser.add_argument("--tables", type=int, nargs="+", default=[20, 500], help="tables of each schema (20 500)")
    parser.add_argument("--runs", type=int, default=3, help="how often each is done; what is told is the median (3)")
    parser.add_argument("--report", type=Path, help="Markdown file to write, such as docs/bench_migrations.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
