# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The files that a load balancer looks up at every request, where it can do that: the switch then is the change of a file.

``live`` in the state directory holds one word and nothing else: the name of the live slot, ``mixed``, or that slot and the share of
the other one (``Routing.word``). ``door`` holds the word of the door (``Door.word``). ``seats/<host>`` is described in ``seats``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils import seats
from ansible_collections.baton.release.plugins.module_utils.door import OPEN, Door, door_of
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import read_text, write_atomically
from ansible_collections.baton.release.plugins.module_utils.routing import Routing, live_and_share
from ansible_collections.baton.release.plugins.module_utils.slots import MIXED, NOTHING_LIVE, SLOTS

__all__ = ["SEATS_SEEN_SECONDS", "LookupFiles"]

SEATS_SEEN_SECONDS = 2.5
"""A balancer looks once a second at what a seat leads to (role caddy)."""


@dataclass(frozen=True)
class LookupFiles:
    """The files of one app in its state directory on the balancer's host."""

    directory: Path

    def routing(self, pools: seats.Pools) -> Routing:
        """Return where the files send requests.

        Raises:
            BatonError: the file that holds the live slot holds something else.
        """
        live, share = self._live_and_share()
        return Routing(live, seats.read_seats(self.directory, pools, live), share)

    def route(self, before: Routing, after: Routing, pools: seats.Pools) -> None:
        """Have the files send requests where ``after`` says; at no instant do they lead to what ``before`` had not."""
        if before.live in SLOTS and after.live == MIXED:
            self._have_seats_seen(before, pools)
        if after.live == MIXED:
            seats.write_seats(self.directory, seats.seat(after.seats, pools))
        if before.word != after.word:
            write_atomically(self.directory / "live", after.word)
        if after.live != MIXED:
            # For the next update: a seat that leads to what is stopped meanwhile would count as down.
            whole = seats.read_seats(self.directory, pools, after.live)
            seats.write_seats(self.directory, seats.seat(whole, pools))

    def door(self) -> Door:
        """Return the door that its file says; it is open while there is none."""
        text = read_text(self.directory / "door")
        return Door() if text is None else door_of(text.strip(), str(self.directory / "door"), otherwise=OPEN)

    def prepare_door(self, *, check_mode: bool) -> bool:
        """Make the file where it is missing, because a balancer may complain of that at each request; say whether it was."""
        missing = not (self.directory / "door").exists()
        if missing and not check_mode:
            write_atomically(self.directory / "door", OPEN)
        return missing

    def move_door(self, after: Door) -> None:
        """Have the file say this door."""
        write_atomically(self.directory / "door", after.word)

    def _have_seats_seen(self, before: Routing, pools: seats.Pools) -> None:
        """Have the seats lead to what is live before they count: the balancer uses none that it holds to be down.

        They do already, but for a run that was killed at the switch, or a balancer that had no seats then.
        """
        if seats.write_seats(self.directory, seats.seat(before.seats, pools)):
            time.sleep(SEATS_SEEN_SECONDS)

    def _live_and_share(self) -> tuple[str, int]:
        text = read_text(self.directory / "live")
        word = NOTHING_LIVE if text is None else text.strip()
        found = live_and_share(word)
        if found is None:
            raise BatonError(
                found=f"{self.directory / 'live'} holds {word[:40]!r}",
                expected=f"one of {', '.join((*SLOTS, MIXED))}, or a share such as {SLOTS[0]}:{SLOTS[1]}:5",
                fix="find out who wrote it, then run rollback.yml or lb_switch without expected",
            )
        return found
