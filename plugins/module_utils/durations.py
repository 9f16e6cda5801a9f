# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Times with their unit, such as 90s, 30m, 1h or 2d."""

from __future__ import annotations

import re

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["DURATION", "seconds_of"]

DURATION = r"[1-9][0-9]{0,5}[smhd]"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds_of(text: str) -> int:
    """Return the seconds of a time; 0 for "", which means for ever.

    Raises:
        BatonError: it is none.
    """
    if text == "":
        return 0
    if not re.fullmatch(DURATION, text):
        raise BatonError(
            found=f"the time {text!r}",
            expected="a whole number with its unit (s, m, h or d), such as 90s, 30m or 1h, or nothing for ever",
            fix="correct slot_keep_hot; nothing was touched",
        )
    return int(text[:-1]) * _SECONDS[text[-1]]
