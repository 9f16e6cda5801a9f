# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What the settings of a host must be for traffic_driver aws_alb, and what of them is for it alone."""

from __future__ import annotations

import typing

from ansible_collections.baton.release.plugins.module_utils.rules import LISTENER_OR_RULE
from ansible_collections.baton.release.plugins.module_utils.settings_types import Complaint, number_of
from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS

__all__ = ["complaints_of_aws_alb"]

Values = typing.Mapping[str, typing.Any]
_FOR = "for traffic_driver aws_alb"


def complaints_of_aws_alb(values: Values) -> typing.Iterator[Complaint]:
    """Yield what is wrong with settings that are sound by themselves."""
    driver = values.get("traffic_driver")
    if driver == "aws_alb":
        yield from _named(values)
        yield from _without_steps(values)
    elif driver is not None:
        for slot, group in _target_groups(values).items():
            if group:
                expected, fix = "it only for aws_alb", "remove it, or correct traffic_driver"
                yield Complaint(f"traffic_target_groups.{slot}", f"a value, for traffic_driver {driver}", expected, fix)


def _target_groups(values: Values) -> dict[str, str]:
    given = values.get("traffic_target_groups")
    return {slot: str(given.get(slot) or "") for slot in SLOTS} if isinstance(given, dict) else {}


def _named(values: Values) -> typing.Iterator[Complaint]:
    admin = str(values.get("traffic_admin", ""))
    if admin and not LISTENER_OR_RULE.holds(admin):
        yield Complaint("traffic_admin", f"{admin:.80}", f"{LISTENER_OR_RULE.expected}, {_FOR}", "correct it")
    groups = _target_groups(values)
    for slot, group in groups.items():
        if not group:
            yield Complaint(
                f"traffic_target_groups.{slot}", "nothing", f"the name or ARN of a target group, {_FOR}", "set it"
            )
    if groups and all(groups.values()) and len(set(groups.values())) < len(SLOTS):
        expected = "another target group for each slot"
        yield Complaint("traffic_target_groups", f"{groups[SLOTS[0]]:.80} for both slots", expected, "correct it")


def _without_steps(values: Values) -> typing.Iterator[Complaint]:
    """Complain of what needs seats, or the requests that the load balancer has answered."""
    if values.get("release_strategy") == "rolling":
        expected = f"blue_green {_FOR}, which has no seats"
        yield Complaint("release_strategy", "rolling", expected, "set release_strategy: blue_green")
    if number_of(values.get("watch_seconds")) not in (None, 0):
        expected = f"0 {_FOR}, because the requests that it answers cannot be read"
        fix = "set watch_seconds: 0, and look at its metrics in CloudWatch after a release"
        yield Complaint("watch_seconds", f"{values['watch_seconds']}", expected, fix)
    steps = values.get("traffic_steps")
    if isinstance(steps, (list, tuple)) and steps:
        expected = f"none {_FOR}, because nothing could be watched between them"
        yield Complaint("traffic_steps", f"[{', '.join(map(str, steps))}]"[:80], expected, "set traffic_steps: []")
