# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""An Application Load Balancer of AWS: a listener, or one of its rules, that forwards to the target group of each slot by weight.

The weights lie in AWS, so they survive whatever happens to the host that runs this. But AWS knows no leases and compares nothing: the
fence of that host holds among those that run there, and between reading and writing somebody else may change the same rule.
"""

from __future__ import annotations

import functools
import time
import typing
from dataclasses import dataclass

from ansible_collections.baton.release.plugins.module_utils._boto3 import SilentError, ask, client_of, listed
from ansible_collections.baton.release.plugins.module_utils.alb_actions import actions_for, routing_of
from ansible_collections.baton.release.plugins.module_utils.door import CLOSED, Door
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.routing import Routing
from ansible_collections.baton.release.plugins.module_utils.rules import LISTENER_OR_RULE, TARGET_GROUP
from ansible_collections.baton.release.plugins.module_utils.seats import Pools
from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS

__all__ = ["AwsAlb"]

_POLL_SECONDS = 0.5
_TAKEN_OUT = "draining"
_PREVIEW = (
    "The driver aws_alb is a preview: it was tested against a simulation of AWS's interface, without traffic. AWS knows no leases and "
    "compares nothing, so what somebody else changes in the same second at this listener or rule can be overwritten."
)


@dataclass
class AwsAlb:
    """One listener or rule, by its ARN, and for each slot its target group, by name or ARN."""

    arn: str
    target_groups: typing.Mapping[str, str]
    patience: float = 15.0
    """Seconds for AWS to show what was changed."""

    def __post_init__(self) -> None:
        """Refuse what names nothing, before AWS is asked.

        Raises:
            BatonError: the ARN is none, or there is not one target group for each slot.
        """
        if not LISTENER_OR_RULE.holds(self.arn):
            raise BatonError(
                found=f"{self.arn[:200] or 'nothing'} as what is to be switched",
                expected=LISTENER_OR_RULE.expected,
                fix="correct traffic_admin; nothing was touched",
            )
        named = {slot: self.target_groups.get(slot) or "" for slot in SLOTS}
        if not all(map(TARGET_GROUP.holds, named.values())) or len(set(named.values())) < len(SLOTS):
            raise BatonError(
                found="the target groups " + ", ".join(f"{slot} {one[:200] or 'none'}" for slot, one in named.items()),
                expected=f"for each of {', '.join(SLOTS)} another one: {TARGET_GROUP.expected}",
                fix="correct traffic_target_groups; nothing was touched",
            )

    def pools(self) -> dict[str, typing.Any] | None:
        """Return ``{slot: {servers, hosts, up, in_flight}}``, without hosts and requests; None when AWS does not answer."""
        try:
            return {slot: self._pool(group) for slot, group in self._groups.items()}
        except SilentError:
            return None

    def in_flight(self) -> dict[str, int] | None:
        """Return None: AWS does not say what is in flight."""
        return None

    def routing(self, pools: Pools) -> Routing:
        """Return where requests go.

        Raises:
            BatonError: AWS does not say, or what it says is not of these slots.
        """
        del pools
        return routing_of(self._actions(), self._groups, self.arn)

    def route(self, before: Routing, after: Routing, pools: Pools) -> None:
        """Change the weights by one call, and wait until AWS shows them.

        Raises:
            BatonError: they are no longer as ``before``, AWS refuses, or does not show them.
        """
        del pools
        actions = self._actions()
        found = routing_of(actions, self._groups, self.arn)
        if found != before:
            raise BatonError(
                found=f"{self.arn} was changed since it was read, and goes by {found.as_text().strip()}",
                expected=before.as_text().strip(),
                fix="look who else changes it, then run again; nothing was changed",
                live=found.live,
                share=found.share,
            )
        said = ""
        try:
            self._put(actions_for(actions, self._groups, after))
        except SilentError as error:
            said = f" ({error.found})"
        self._await(after, said)

    def door(self) -> Door:
        """Return an open door: there is no other."""
        return Door()

    def refuse_door(self, after: Door) -> None:
        """Refuse to close it.

        Raises:
            BatonError: it is to be closed.
        """
        if after.state in CLOSED:
            raise BatonError(
                found="the driver aws_alb, which cannot hold requests or show a maintenance page",
                expected="haproxy, nginx or caddy",
                fix="show a page elsewhere, for instance by a rule of higher priority with a fixed response; nothing was touched",
            )

    def move_door(self, after: Door) -> None:
        """Refuse to close it; it is open.

        Raises:
            BatonError: it is to be closed.
        """
        self.refuse_door(after)

    def server_states(self) -> dict[str, dict[str, str]]:
        """Return none: it has no states of single servers."""
        return {}

    def warnings(self) -> list[str]:
        """Say what this driver does not promise."""
        return [_PREVIEW]

    @functools.cached_property
    def _client(self) -> typing.Any:
        return client_of("elbv2", region=self.arn.split(":")[3])

    @functools.cached_property
    def _groups(self) -> dict[str, str]:
        """For each slot the ARN of its target group."""
        names = [one for one in self.target_groups.values() if not one.startswith("arn:")]
        found = listed(self._client, "describe_target_groups", "TargetGroups", Names=names) if names else []
        arns = {str(one["TargetGroupName"]): str(one["TargetGroupArn"]) for one in found}
        groups = {slot: arns.get(self.target_groups[slot], self.target_groups[slot]) for slot in SLOTS}
        if len(set(groups.values())) < len(SLOTS):
            raise BatonError(
                found=f"{groups[SLOTS[0]]} for both slots, once by its name",
                expected="a target group of its own for each slot",
                fix="correct traffic_target_groups; nothing was touched",
            )
        return groups

    @property
    def _is_rule(self) -> bool:
        return ":listener-rule/" in self.arn

    def _actions(self) -> list[dict[str, typing.Any]]:
        if self._is_rule:
            found = listed(self._client, "describe_rules", "Rules", RuleArns=[self.arn])
        else:
            found = listed(self._client, "describe_listeners", "Listeners", ListenerArns=[self.arn])
        if len(found) != 1 or found[0].get("IsDefault"):
            raise BatonError(
                found=f"{self.arn}, {'the default rule of a listener' if found else 'which AWS does not know'}",
                expected="a listener, or a rule of one that is not its default rule",
                fix="correct traffic_admin: for the default rule it is the ARN of its listener",
            )
        return list(found[0]["Actions" if self._is_rule else "DefaultActions"])

    def _put(self, actions: list[dict[str, typing.Any]]) -> None:
        if self._is_rule:
            ask(self._client, "modify_rule", RuleArn=self.arn, Actions=actions)
        else:
            ask(self._client, "modify_listener", ListenerArn=self.arn, DefaultActions=actions)

    def _await(self, after: Routing, said: str) -> None:
        deadline = time.monotonic() + self.patience
        while True:
            try:
                found = self.routing({})
                if found.same(after):
                    return
                seen = f"still goes by {found.as_text().strip()}"
            except SilentError as error:
                seen = f"is not shown: {error.found}"
            if time.monotonic() >= deadline:
                raise BatonError(
                    found=f"{self.arn} was changed{said}, and {seen}",
                    expected=f"{after.as_text().strip()} within {self.patience:g} s",
                    fix="look at it in AWS, and who else changes it; then run again",
                )
            time.sleep(_POLL_SECONDS)

    def _pool(self, group: str) -> dict[str, typing.Any]:
        told = ask(self._client, "describe_target_health", TargetGroupArn=group)
        described = told.get("TargetHealthDescriptions", ())
        states = {_address(one["Target"]): one["TargetHealth"]["State"] for one in described}
        return {
            "servers": [address for address, state in states.items() if state != _TAKEN_OUT],
            "hosts": [],
            "up": [address for address, state in states.items() if state == "healthy"],
            "in_flight": {},
        }


def _address(target: typing.Mapping[str, typing.Any]) -> str:
    name = str(target["Id"])
    return f"[{name}]:{target['Port']}" if ":" in name else f"{name}:{target['Port']}"
