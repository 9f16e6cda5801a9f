# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The two places on every app host where a version can run."""

from __future__ import annotations

__all__ = ["SLOTS", "other"]

SLOTS = ("blue", "green")


def other(slot: str) -> str:
    """Return the slot that ``slot`` is not."""
    return SLOTS[1 - SLOTS.index(slot)]
