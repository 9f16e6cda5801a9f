"""What is struck: each procedure as the arguments of its playbook, and what has to be there before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["PROCEDURES", "Procedure", "named"]


@dataclass(frozen=True)
class Procedure:
    """A playbook with its arguments.

    ``goal`` says which version it brings, given as ``release_version`` or ``rollback_version``: ``new`` is one that was never
    released, ``bad`` one that fails under traffic and is taken back, ``hot`` the proven one that still runs in the idle slot,
    ``warm`` a proven one that is installed but in no slot.
    """

    name: str
    goal: Literal["new", "bad", "hot", "warm"]
    variables: dict[str, Any] = field(default_factory=dict)

    @property
    def playbook(self) -> str:
        """The playbook: a version that was proven before is gone back to."""
        return "rollback" if self.goal in ("hot", "warm") else "release"


IN_PLACE = {"release_strategy": "rolling", "release_max_surge": 0, "release_max_unavailable": 1}
STEPS = {"traffic_steps": [30, 60], "watch_max_slowdown": 0}
# To strike at another one, add a line.
PROCEDURES = (
    Procedure("release", "new"),
    Procedure("release of a bad version", "bad"),
    Procedure("release in steps", "new", STEPS),
    Procedure("hot rollback", "hot"),
    Procedure("warm rollback", "warm"),
    Procedure("rolling release, with surge", "new", {"release_strategy": "rolling"}),
    Procedure("rolling release, in place", "new", IN_PLACE),
    Procedure("rolling release of a bad version, in place", "bad", IN_PLACE),
)


def named(name: str) -> Procedure:
    """Return the procedure called ``name``."""
    return next(procedure for procedure in PROCEDURES if procedure.name == name)
