# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The actions of an ALB's listener or rule, as where requests go and back again; no input or output.

The last action forwards to two target groups by weight. Which slot is live has to be told from the weights alone, also while the other
one has most of the clients. So they add up to 700 during a share while blue is live, and to 900 while green is. Nobody writes such sums
by hand, so whoever sets 50 and 50 in the console is noticed.
"""

from __future__ import annotations

import typing

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.routing import WHOLE, Routing
from ansible_collections.baton.release.plugins.module_utils.slots import NOTHING_LIVE, SLOTS, other

__all__ = ["STEADY_SECONDS", "actions_for", "routing_of"]

Action = typing.Mapping[str, typing.Any]
Actions = typing.Sequence[Action]
Groups = typing.Mapping[str, str]
"""For each slot the ARN of its target group."""

STEADY_SECONDS = 3600
"""For so long a client stays in the slot that it has reached, during a share."""
_UNITS = {"blue": 7, "green": 9}
"""The weight of one per cent, while this slot is live and the other one has a share."""


def routing_of(actions: Actions, groups: Groups, where: str) -> Routing:
    """Return where requests go.

    Args:
        actions: as AWS describes them, of ``where``.
        groups: the target groups of the slots.
        where: the ARN of the listener or rule, for messages.

    Raises:
        BatonError: they do not go to the slots alone, or by weights that say nothing of what is live.
    """
    forward = _last(actions)
    if forward.get("Type") != "forward":
        raise BatonError(
            found=f"{where} answers users by {forward.get('Type', 'nothing')}",
            expected="its last action to forward to the target groups of both slots",
            fix="let it forward to them again; before the first release with weight 0 each",
        )
    weights = _weights(forward)
    strangers = sorted(set(weights) - set(groups.values()))
    if strangers:
        raise BatonError(
            found=f"{where} forwards to {', '.join(strangers)}",
            expected=f"no other target groups than {', '.join(groups[slot] for slot in SLOTS)}",
            fix="take them out of the listener or rule, or correct traffic_target_groups or traffic_admin",
        )
    found = _live_and_share({slot: weights.get(groups[slot], 0) for slot in SLOTS})
    if found is None:
        said = " and ".join(f"{slot} {weights.get(groups[slot], 0)}" for slot in SLOTS)
        raise BatonError(
            found=f"{where} forwards with the weights {said}, which lb_switch has not set",
            expected="a weight above 0 for the slot that is live alone, or the weights that lb_switch sets for a share",
            fix="find out who changed them, and set that of the slot that is not live to 0",
        )
    live, share = found
    return Routing(live, share=share, unsettled=_unsettled(forward, share))


def actions_for(actions: Actions, groups: Groups, after: Routing) -> list[dict[str, typing.Any]]:
    """Return ``actions`` with the last one as ``after`` says, and what comes before it (logins) as it is."""
    last = _last(actions)
    unit = _UNITS[after.live] if after.share else 1
    weights = {after.live: unit * (WHOLE - after.share), other(after.live): unit * after.share}
    # A cookie counts for more than a weight of 0: without a share nobody may be held to a slot.
    steady: dict[str, typing.Any] = {"Enabled": True, "DurationSeconds": STEADY_SECONDS}
    forward = {
        "Type": "forward",
        **({"Order": last["Order"]} if "Order" in last else {}),
        "ForwardConfig": {
            "TargetGroups": [{"TargetGroupArn": groups[slot], "Weight": weights[slot]} for slot in SLOTS],
            "TargetGroupStickinessConfig": steady if after.share else {"Enabled": False},
        },
    }
    return [*(_kept(one) for one in actions if one is not last), forward]


def _last(actions: Actions) -> Action:
    return max(actions, key=lambda one: int(one.get("Order", 0)), default={})


def _kept(action: Action) -> dict[str, typing.Any]:
    """Return an action to be written again: AWS does not show the secret of a login, and keeps it only when it is told to."""
    oidc = action.get("AuthenticateOidcConfig")
    if not oidc:
        return {**action}
    shown = {name: value for name, value in oidc.items() if name != "ClientSecret"}
    return {**action, "AuthenticateOidcConfig": {**shown, "UseExistingClientSecret": True}}


def _weights(forward: Action) -> dict[str, int]:
    given = forward.get("ForwardConfig", {}).get("TargetGroups") or [forward]
    return {str(one.get("TargetGroupArn")): int(one.get("Weight", 1)) for one in given}


def _live_and_share(weights: typing.Mapping[str, int]) -> tuple[str, int] | None:
    if not any(weights.values()):
        return NOTHING_LIVE, 0
    for live in SLOTS:
        own, others, unit = weights[live], weights[other(live)], _UNITS[live]
        if not others:
            return live, 0
        if own and own + others == unit * WHOLE and others % unit == 0:
            return live, others // unit
    return None


def _unsettled(forward: Action, share: int) -> str:
    steady = bool(forward.get("ForwardConfig", {}).get("TargetGroupStickinessConfig", {}).get("Enabled"))
    if share and not steady:
        return "clients change between the slots, because group stickiness is off"
    return "cookies may hold clients in the other slot, because group stickiness is on" if steady and not share else ""
