# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Where one load balancer sends requests."""

from __future__ import annotations

import re
import typing
from dataclasses import dataclass, field

from ansible_collections.baton.release.plugins.module_utils.slots import MIXED, NOTHING_LIVE, SLOTS, other

__all__ = ["WHOLE", "Routing", "live_and_share"]

WHOLE = 100
"""Per cent."""
_SHARED = re.compile(r"(\w+):(\w+):([1-9][0-9]?)")


@dataclass(frozen=True)
class Routing:
    """The slot that is live, and what differs from "all requests go there"."""

    live: str
    """A slot, ``mixed`` while each app host's own slot decides, ``none`` before the first release."""
    seats: typing.Mapping[str, str] = field(default_factory=dict)
    """For each app host the slot that its share of the requests reaches, or ``out``; empty where the balancer has no seats."""
    share: int = 0
    """Per cent of the clients that reach the slot that is not live."""
    unsettled: str = ""
    """What is other than all that says, for instance after a restart, because whoever changed it last did not get to its end."""

    def same(self, other: Routing) -> bool:
        """Say whether requests go the same ways; the seats count only while they decide, and what is unsettled is never the same."""
        return (self.live, self.share, self.unsettled) == (other.live, other.share, other.unsettled) and (
            self.live != MIXED or self.seats == other.seats
        )

    @property
    def word(self) -> str:
        """What a balancer looks up at every request: the live slot, or ``blue:green:5`` while 5 % of the clients reach green.

        It is one word, so that the live slot and the share change at the same instant.
        """
        return f"{self.live}:{other(self.live)}:{self.share}" if self.share else self.live

    def as_text(self) -> str:
        """Return the routing in one line, as a diff shows it."""
        seating = "".join(f" {host}={slot}" for host, slot in self.seats.items() if self.live == MIXED)
        share = f" and {self.share} % of the clients the other slot" if self.share else ""
        return self.live + seating + share + (f" ({self.unsettled})" if self.unsettled else "") + "\n"


def live_and_share(word: str) -> tuple[str, int] | None:
    """Return the live slot and the share that ``Routing.word`` says, None for what is no such word."""
    if word in (*SLOTS, MIXED, NOTHING_LIVE):
        return word, 0
    found = _SHARED.fullmatch(word)
    if found and found[1] in SLOTS and found[2] == other(found[1]):
        return found[1], int(found[3])
    return None
