# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Where slot_singletons may have a singleton run, and what it needs of the other settings."""

from __future__ import annotations

import typing

from ansible_collections.baton.release.plugins.module_utils.settings_excluded import taking_part
from ansible_collections.baton.release.plugins.module_utils.settings_types import Complaint, number_of
from ansible_collections.baton.release.plugins.module_utils.singleton_settings import DEFAULT_STOP_SECONDS

__all__ = ["complaints_of_singletons"]

Groups = typing.Mapping[str, typing.Sequence[str]]
Values = typing.Mapping[str, typing.Any]
NAME = "slot_singletons"


def complaints_of_singletons(groups: Groups, values: Values) -> typing.Iterator[Complaint]:
    """Yield what is wrong with a setting that is sound by itself."""
    singletons = values.get(NAME)
    if not isinstance(singletons, dict) or not singletons:
        return
    for name, one in singletons.items():
        host = one.get("host")
        if host is None:
            continue
        if host not in groups.get("app", ()):
            expected = "a host of the group app, or none for the first one that takes part"
            yield Complaint(f"{NAME}.{name}.host", f"{host!r:.80}", expected, "correct it")
        elif host not in taking_part(groups, values):
            expected = "a host that release_excluded_hosts does not name"
            fix = "name another host, or none for the first one that takes part; be sure that the old one is off"
            yield Complaint(f"{NAME}.{name}.host", f"{host:.80}", expected, fix)
    yield from _patience(singletons, values)


def _patience(singletons: typing.Mapping[str, Values], values: Values) -> typing.Iterator[Complaint]:
    """Complain of ends that take longer than a lease: nobody gives a sign of life meanwhile."""
    lasts = number_of(values.get("release_lock_ttl"))
    ends = sum(number_of(one.get("stop_seconds", DEFAULT_STOP_SECONDS)) or 0 for one in singletons.values())
    stay = number_of(values.get("slot_singletons_stay")) or 0
    if lasts is not None and max(ends, stay) >= lasts:
        expected = f"less than the {lasts:g} s of release_lock_ttl for all of them, and for slot_singletons_stay"
        yield Complaint(NAME, f"{max(ends, stay):g} s in which nothing is heard", expected, "raise release_lock_ttl")
