# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The door: whether a load balancer lets users' requests in to what is live, has them wait, or answers them itself.

Health paths and the previews of the slots pass beside it, so that what is behind it can be proven while it is closed.
"""

from __future__ import annotations

import re
import typing
from dataclasses import dataclass

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["CLOSED", "DOORS", "HELD", "LONGEST_HOLD", "MAINTENANCE", "OPEN", "Door", "door_of", "refuse_hold"]

OPEN, HELD, MAINTENANCE = "open", "held", "maintenance"
DOORS = (OPEN, HELD, MAINTENANCE)
CLOSED = (HELD, MAINTENANCE)
LONGEST_HOLD = 600
"""Seconds; few clients wait for longer, and each that waits takes a connection."""
_HELD = re.compile(rf"{HELD}:([1-9][0-9]{{0,5}}):([1-9][0-9]{{0,5}})")
_MAINTENANCE = re.compile(rf"{MAINTENANCE}:([1-9][0-9]{{0,5}})")


@dataclass(frozen=True)
class Door:
    """The door of one load balancer."""

    state: str = OPEN
    hold_limit: int = 0
    """Seconds that a request waits at most while it is held; then it gets the maintenance page."""
    retry_after: int = 0
    """Seconds after which whoever got that page is told to come again."""
    unsettled: str = ""
    """What is other than all that says, for instance after a restart, because whoever changed it last did not get to its end."""

    @property
    def word(self) -> str:
        """What a balancer looks up at every request: ``open``, ``held:30:60`` or ``maintenance:60``."""
        if self.state == HELD:
            return f"{HELD}:{self.hold_limit}:{self.retry_after}"
        return f"{MAINTENANCE}:{self.retry_after}" if self.state == MAINTENANCE else OPEN

    def as_text(self) -> str:
        """Return it in one line, as a diff shows it."""
        words = {
            OPEN: "the door is open",
            HELD: f"requests are held for up to {self.hold_limit} s each",
            MAINTENANCE: f"the maintenance page is shown (Retry-After {self.retry_after})",
        }[self.state]
        return words + (f" ({self.unsettled})" if self.unsettled else "") + "\n"

    def as_result(self) -> dict[str, typing.Any]:
        """Return it as plain data."""
        names = ("state", "hold_limit", "retry_after", "unsettled")
        return {name: getattr(self, name) for name in names}


def refuse_hold(door: Door, driver: str) -> None:
    """Refuse to hold requests, for a driver that cannot.

    Raises:
        BatonError: they are to be held.
    """
    if door.state == HELD:
        raise BatonError(
            found=f"the driver {driver}, which cannot hold requests without a reload",
            expected="haproxy",
            fix="show the maintenance page instead (state maintenance); nothing was touched",
        )


def door_of(word: str, where: str, *, otherwise: str) -> Door:
    """Return the door that ``Door.word`` says; what is no such word, in ``where``, has the effect of the door ``otherwise``."""
    if word == OPEN:
        return Door()
    if found := _HELD.fullmatch(word):
        return Door(HELD, int(found[1]), int(found[2]))
    if found := _MAINTENANCE.fullmatch(word):
        return Door(MAINTENANCE, retry_after=int(found[1]))
    return Door(otherwise, unsettled=f"{where} holds {word[:40]!r}, which somebody else wrote")
