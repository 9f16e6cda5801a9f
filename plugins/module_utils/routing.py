# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Where one load balancer sends requests."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field

from ansible_collections.baton.release.plugins.module_utils.slots import MIXED

__all__ = ["WHOLE", "Routing"]

WHOLE = 100
"""Per cent."""


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

    def as_text(self) -> str:
        """Return the routing in one line, as a diff shows it."""
        seating = "".join(f" {host}={slot}" for host, slot in self.seats.items() if self.live == MIXED)
        share = f" and {self.share} % of the clients the other slot" if self.share else ""
        return self.live + seating + share + (f" ({self.unsettled})" if self.unsettled else "") + "\n"
