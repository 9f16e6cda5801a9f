# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Whom ``release_excluded_hosts`` may name, and what has to be left without them."""

from __future__ import annotations

import typing

from ansible_collections.baton.release.plugins.module_utils.settings_types import Complaint, number_of, truth_of

__all__ = ["complaints_of_excluded", "taking_part"]

Groups = typing.Mapping[str, typing.Sequence[str]]
Values = typing.Mapping[str, typing.Any]
NAME = "release_excluded_hosts"
_EXCLUDING = "haproxy"


def taking_part(groups: Groups, values: Values) -> list[str]:
    """Return the app hosts that are not excluded."""
    excluded = values.get(NAME)
    return [host for host in groups.get("app", ()) if not isinstance(excluded, dict) or host not in excluded]


def complaints_of_excluded(groups: Groups, values: Values) -> typing.Iterator[Complaint]:
    """Yield what is wrong with a setting that is sound by itself."""
    excluded = values.get(NAME)
    if not isinstance(excluded, dict) or not excluded:
        return
    for host in sorted(str(one) for one in excluded if one not in groups.get("app", ())):
        yield Complaint(NAME, f"the host {host[:80]!r}", "hosts of the group app", "correct its name, or remove it")
    left = taking_part(groups, values)
    if not left:
        yield Complaint(NAME, "every app host", "at least one that takes part", "exclude fewer")
    yield from _needed(values, excluded)
    driver = values.get("traffic_driver")
    if driver not in (None, _EXCLUDING):
        expected = f"nobody, for traffic_driver {driver}, which cannot hold a single server in maintenance"
        fix = "take the host out of the group app, and render the load balancers' configuration again"
        yield Complaint(NAME, ", ".join(map(str, excluded))[:80], expected, fix)
    floor = number_of(values.get("traffic_min_available"))
    if left and floor is not None and floor > len(left):
        expected = f"at most the {len(left)} app hosts that are left by {NAME}"
        yield Complaint("traffic_min_available", f"{floor:g}", expected, "lower it, or exclude fewer")


def _needed(values: Values, excluded: typing.Mapping[str, typing.Any]) -> typing.Iterator[Complaint]:
    """Complain of hosts that a run cannot do without."""
    state_host, migrator = values.get("release_state_host"), values.get("plan_migrator")
    if state_host in excluded:
        fix = "name another host in release_state_host, and copy release_state_dir there from the old one or from a backup"
        yield Complaint("release_state_host", f"{state_host:.80}", f"a host that {NAME} does not name", fix)
    if migrator in excluded and truth_of(values.get("database_migrate")) is not False:
        fix = "name another app host in the group migrator"
        yield Complaint("plan_migrator", f"{migrator:.80}", f"a host that {NAME} does not name", fix)
