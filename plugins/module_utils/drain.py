# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The wait for requests that are still in flight at servers that get no more of them."""

from __future__ import annotations

import time
import typing

__all__ = ["Counting", "await_idle"]

POLL_SECONDS = 0.2


class Counting(typing.Protocol):
    """Whatever knows how many requests are in flight at each server; None when it does not."""

    def in_flight(self) -> dict[str, int] | None:
        """Return the number of requests at each server that has any."""


def await_idle(balancer: Counting, servers: set[str], seconds: float) -> dict[str, int | None]:
    """Wait until no request is left at ``servers``; return those that have some after ``seconds``, with the number if it is known."""
    deadline = time.monotonic() + seconds
    while servers:
        counts = balancer.in_flight()
        busy = {
            server: counts.get(server) if counts else None
            for server in sorted(servers)
            if counts is None or counts.get(server)
        }
        if not busy or time.monotonic() >= deadline:
            return busy
        time.sleep(POLL_SECONDS)
    return {}
