"""The table at the end of the demo."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.witness.checker import Verdict

__all__ = ["Step", "table"]


@dataclass
class Step:
    """One step of the demo: what it was, how long it took, what the client outside saw, and what did not hold."""

    title: str
    seconds: float
    verdict: Verdict | None = None
    problems: list[str] = field(default_factory=list)

    def row(self) -> tuple[str, ...]:
        """Return the step as cells."""
        if self.verdict is None:
            return (self.title, f"{self.seconds:.1f}", "", "", "", "" if not self.problems else "FAILED")
        answers = ", ".join(f"{version or 'none'} {count.requests}" for version, count in self.verdict.versions.items())
        own = len(self.verdict.failed_by_bad_version)
        return (
            self.title,
            f"{self.seconds:.1f}",
            str(self.verdict.requests),
            str(len(self.verdict.failed_by_release)),
            answers + (f"  ({own} errors of its own)" if own else ""),
            "FAILED" if self.problems else "ok",
        )


def table(steps: list[Step]) -> str:
    """Return the steps as a table."""
    rows = [("step", "seconds", "requests", "lost", "answers by version", ""), *(step.row() for step in steps)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "   " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    rule = "   " + "  ".join("-" * width for width in widths)
    return "\n".join([lines[0], rule, *lines[1:]])
