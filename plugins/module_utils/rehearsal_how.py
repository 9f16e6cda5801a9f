# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Whether and how migrations are rehearsed, without the rehearsal itself: most runs make none, and need not load all that it takes."""

from __future__ import annotations

import typing
from dataclasses import dataclass, replace
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.rehearsal_change import CONTRACT

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_interface import Tool
    from ansible_collections.baton.release.plugins.module_utils.migration_plan import Revision

__all__ = ["OFF", "REHEARSALS", "Gate", "Rehearsal", "measured"]

OFF, REPORT, REQUIRED = "off", "report", "required"
REHEARSALS = (OFF, REPORT, REQUIRED)
Found = typing.Dict[str, typing.Any]  # noqa: UP006 - Python 3.9 evaluates it


@dataclass(frozen=True)
class Rehearsal:
    """How to rehearse: what ``make`` makes a tool of, given variables that replace those of its environment, and where things are."""

    make: typing.Callable[[typing.Mapping[str, str | None]], Tool]
    project_dir: Path
    state_dir: Path
    variable: str
    """Of the environment, that holds the URL of the database."""
    identity: str = ""
    """All else that decides what the tool does, as text."""
    programs: str | None = None
    tables: tuple[str, ...] = ()
    """Further tables of the tool's own."""
    keep: bool = True
    known: Path | None = None
    """What a rehearsal elsewhere has found."""
    precheck_timeout: float = 5.0
    """Seconds that one question to the rows of the target may take."""
    server_variable: str = ""
    """Of the environment, that holds the URL of a server for rehearsals; empty for a server of its own on this host."""
    same_server: bool = False
    """Whether that may be the target's own server."""
    statements_of: tuple[str, ...] = ()
    """Roles whose statements are the app's; all of them when there are none."""


@dataclass(frozen=True)
class Gate:
    """What a rehearsal decides: ``mode`` is one of ``REHEARSALS``, and ``how`` says how to rehearse."""

    mode: str
    how: Rehearsal
    allow_review: bool = False

    @property
    def required(self) -> bool:
        """Whether nothing passes that was not rehearsed."""
        return self.mode == REQUIRED


def measured(steps: typing.Sequence[Revision], found: Found) -> tuple[Revision, ...]:
    """Return ``steps`` with the phase contract where a rehearsal has measured that, whatever their files say."""
    contract = {
        revision for one in found.get("changes", ()) if one["level"] == CONTRACT for revision in one["revisions"]
    }
    return tuple(replace(one, phase=CONTRACT) if one.revision in contract else one for one in steps)
