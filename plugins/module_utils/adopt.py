# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a load balancer that somebody has configured needs, so that ``lb_switch`` can switch it: findings, and edits to make by hand.

The checks only read, and ask the balancer what it runs with. One file for each driver; only the one that is asked for is loaded.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import read_text

__all__ = [
    "ADVICE",
    "CHECKS",
    "MISSING",
    "OK",
    "UNKNOWN",
    "Edit",
    "Finding",
    "Wanted",
    "absent",
    "as_text",
    "readable",
    "whole_files",
]

OK, MISSING, UNKNOWN, ADVICE = "ok", "missing", "unknown", "advice"
"""``unknown`` could not be asked, because of something else that is missing; ``advice`` is not needed."""


@dataclass(frozen=True)
class Edit:
    """A change of one file, as it is now: at line ``at`` take ``take`` lines away, and put ``lines`` there."""

    path: str
    at: int
    take: int
    lines: tuple[str, ...]
    where: str
    """The same in words."""

    def as_text(self) -> str:
        """Return it as a person does it."""
        body = "".join(f"    {line}\n" for line in self.lines)
        return f"  In {self.path}, {self.where}{':' if self.lines else ''}\n{body}"


@dataclass(frozen=True)
class Finding:
    """One thing that is needed, and what there is of it."""

    name: str
    state: str
    found: str
    expected: str = ""
    fix: str = ""
    edits: tuple[Edit, ...] = ()

    def withheld(self) -> Finding:
        """Return it without its lines, which would do harm while the app's addresses are not its own."""
        if not self.edits:
            return self
        fix = "give the app other addresses first, as said above, and run this again for the lines"
        return Finding(self.name, self.state, self.found, self.expected, fix)

    @classmethod
    def of(cls, name: str, error: BatonError) -> Finding:
        """Return what a refusal says as something that is missing."""
        return cls(name, MISSING, error.found, error.expected, error.fix)

    def as_text(self) -> str:
        """Return it with all of its edits."""
        if self.state == OK:
            return f"{self.state:8}{self.name}: {self.found}\n"
        wanted = f" Expected: {self.expected}." if self.expected else ""
        wanted += f" To do: {self.fix}." if self.fix else ""
        return f"{self.state:8}{self.name}: Found: {self.found}.{wanted}\n" + "".join(
            one.as_text() for one in self.edits
        )

    def as_result(self) -> dict[str, typing.Any]:
        """Return it as plain data."""
        names = ("name", "state", "found", "expected", "fix")
        edits = [{name: getattr(one, name) for name in ("path", "at", "take", "lines", "where")} for one in self.edits]
        return {**{name: getattr(self, name) for name in names}, "edits": edits}


@dataclass(frozen=True)
class Wanted:
    """What a balancer is to have, from the inventory and the templates of its role; the names are those of ``lb_adopt_info``."""

    app_name: str
    state_dir: Path
    admin: str
    url: str
    health_path: str
    listen: typing.Mapping[str, str]
    """For ``public``, ``blue``, ``green`` and perhaps ``admin`` an address that the app's part listens on."""
    configuration: str
    config_path: Path
    main_config: Path
    files: typing.Mapping[str, str]
    access_log: str
    entry: str
    """Lines for the user's own configuration, which lead requests to ``listen.public``."""
    command: str


def as_text(findings: typing.Sequence[Finding]) -> str:
    """Return all findings: what is missing first, then what could not be asked and what is advised, then what is there."""
    order = (MISSING, UNKNOWN, ADVICE, OK)
    return "".join(one.as_text() for one in sorted(findings, key=lambda one: order.index(one.state)))


def whole_files(files: typing.Mapping[str, str], name: str = "files") -> Finding:
    """Compare files that are to hold this and nothing else."""
    edits = []
    for path, content in files.items():
        try:
            there = read_text(Path(path))
        except BatonError as error:
            return Finding.of(name, error)
        if there != content:
            where = "in place of all that is in it" if there is not None else absent(Path(path))
            edits.append(Edit(path, 1, len((there or "").splitlines()), tuple(content.splitlines()), where))
    if not edits:
        return Finding(name, OK, f"{', '.join(files)} {'are' if len(files) > 1 else 'is'} as it has to be")
    return Finding(
        name,
        MISSING,
        f"{', '.join(one.path for one in edits)} {'are' if len(edits) > 1 else 'is'} missing, or something else",
        "what the balancer's configuration reads, or serves to users",
        "write it, readable for the balancer (mode 0644, directories 0755)",
        tuple(edits),
    )


def absent(path: Path) -> str:
    """Say of a file that it is not there, and whether its directory is."""
    return "which is not there" if path.parent.is_dir() else "which is not there, nor is its directory"


def readable(path: Path) -> str | None:
    """Return the text of a file; None where there is none, or none that this user may read."""
    try:
        return read_text(path)
    except BatonError:
        return None


def _haproxy(wanted: Wanted) -> list[Finding]:
    from ansible_collections.baton.release.plugins.module_utils.adopt_haproxy import findings  # noqa: PLC0415 - see above

    return findings(wanted)


def _nginx(wanted: Wanted) -> list[Finding]:
    from ansible_collections.baton.release.plugins.module_utils.adopt_nginx import findings  # noqa: PLC0415 - see above

    return findings(wanted)


CHECKS: dict[str, typing.Callable[[Wanted], list[Finding]]] = {"haproxy": _haproxy, "nginx": _nginx}
"""For each driver what looks."""
