# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The two places on every app host where a version can run, and what can be live instead of one of them."""

from __future__ import annotations

__all__ = ["MIXED", "NOTHING_LIVE", "OUT", "SLOTS", "other"]

SLOTS = ("blue", "green")
MIXED = "mixed"
"""Live while a rolling update is under way: each host's own slot decides (its seat)."""
NOTHING_LIVE = "none"
OUT = "out"
"""A host whose share of the requests goes to the other hosts."""


def other(slot: str) -> str:
    """Return the slot that ``slot`` is not."""
    return SLOTS[1 - SLOTS.index(slot)]
