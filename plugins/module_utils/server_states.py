# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The states that a server can be put into: it serves, it gets no more requests, or it is not even asked for its health."""

from __future__ import annotations

import typing

__all__ = ["DRAIN", "MAINT", "READY", "STATES", "States"]

READY, DRAIN, MAINT = "ready", "drain", "maint"
STATES = (READY, DRAIN, MAINT)

States = typing.Mapping[str, str]
"""Host to state, for one slot."""
