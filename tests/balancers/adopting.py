# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What somebody does who adopts a load balancer: runs the check, and makes the edits that it names, exactly those."""

from __future__ import annotations

import hashlib
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.adopt import (
    CHECKS,
    MISSING,
    UNKNOWN,
    Finding,
    Wanted,
    as_text,
)

__all__ = ["check", "digest", "lacking", "make"]


def check(driver: str, wanted: Wanted) -> dict[str, Finding]:
    """Return the findings by their names."""
    findings = CHECKS[driver](wanted)
    named = {one.name: one for one in findings}
    assert len(named) == len(findings), as_text(findings)
    assert as_text(findings).count("\n") >= len(findings)
    return named


def lacking(findings: typing.Mapping[str, Finding]) -> set[str]:
    """Return the names of what is missing."""
    return {one.name for one in findings.values() if one.state in (MISSING, UNKNOWN)}


def make(findings: typing.Mapping[str, Finding], *, without: typing.Container[str] = ()) -> None:
    """Make the edits, from the last line of each file to its first."""
    edits = [edit for name, one in findings.items() if name not in without for edit in one.edits]
    for edit in sorted(edits, key=lambda one: -one.at):
        path = Path(edit.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        lines[edit.at - 1 : edit.at - 1 + edit.take] = edit.lines
        path.write_text("\n".join(lines) + "\n")


def digest(*directories: Path) -> str:
    """Return what says whether a file, a link or a mode in these directories is another one."""
    found = hashlib.sha256()
    for directory in directories:
        for path in sorted((directory, *directory.rglob("*"))):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found.update(
                f"{path} {status.st_mode} {status.st_mtime_ns if not path.is_dir() else 0} ".encode() + content
            )
    return found.hexdigest()
