# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Names of settings that nobody knows, but that look like one that somebody meant.

Inventories hold the variables of their owners too, so a name is only a mistake when it is nearly one of ours. A variable of one's
own that is that near has to be called something else.
"""

from __future__ import annotations

import difflib
import typing

__all__ = ["misspelled", "nearest"]

_NEAR = 0.6
"""How alike a word must be to one of a few choices to be the one meant (difflib's ratio, 0 to 1)."""
_ALMOST = 0.86
"""How alike a variable with one of our prefixes must be to a setting to be a slip of it: app_slot, watch_second."""
_ALMOST_ELSEWHERE = 0.92
"""The same for any other variable: a slip in the prefix itself, as in relase_version."""


def nearest(word: str, choices: typing.Sequence[str]) -> str:
    """Return the choice that ``word`` was probably meant to be, "" when there is none."""
    return next(iter(difflib.get_close_matches(word[:100].lower(), list(choices), n=1, cutoff=_NEAR)), "")


def misspelled(names: typing.Iterable[str], known: typing.Collection[str]) -> dict[str, str]:
    """Return those of ``names`` that are none of the ``known`` ones, but nearly: each with the one that is meant."""
    prefixes = tuple({f"{name.split('_')[0]}_" for name in known})
    found = {}
    for name in names:
        if name in known or len(name) > 2 * max(map(len, known), default=0):
            continue
        cutoff = _ALMOST if name.startswith(prefixes) else _ALMOST_ELSEWHERE
        near = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
        if near:
            found[name] = near[0]
    return found
