# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Where requests go, as the weights of two target groups and back again."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.alb_actions import actions_for, routing_of
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.routing import Routing

GROUPS = {"blue": "arn:b", "green": "arn:g"}
BEFORE = [{"Type": "forward", "TargetGroupArn": "arn:b"}]


def forward(blue: int, green: int) -> list[dict[str, Any]]:
    groups = [{"TargetGroupArn": "arn:g", "Weight": green}, {"TargetGroupArn": "arn:b", "Weight": blue}]
    return [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]


def test_every_share_of_either_slot_is_read_back_as_it_was_written() -> None:
    written = set()
    for live, share in itertools.product(("blue", "green"), range(100)):
        actions = actions_for(BEFORE, GROUPS, Routing(live, share=share))
        assert routing_of(actions, GROUPS, "x") == Routing(live, share=share)
        weights = [one["Weight"] for one in actions[0]["ForwardConfig"]["TargetGroups"]]
        assert all(0 <= weight <= 999 for weight in weights)
        assert weights[live == "blue"] * 100 == share * sum(weights)
        written.add(tuple(weights))
    assert len(written) == 200


@pytest.mark.parametrize("weights", [(50, 50), (75, 25), (1, 1), (699, 1), (1, 699), (899, 1), (700, 700), (999, 1)])
def test_weights_that_say_nothing_of_what_is_live_are_named(weights: tuple[int, int]) -> None:
    with pytest.raises(BatonError, match=f"blue {weights[0]} and green {weights[1]}, which lb_switch has not set"):
        routing_of(forward(*weights), GROUPS, "x")


@pytest.mark.parametrize(
    ("weights", "live"), [((0, 0), "none"), ((1, 0), "blue"), ((999, 0), "blue"), ((0, 1), "green")]
)
def test_a_slot_that_is_alone_is_live(weights: tuple[int, int], live: str) -> None:
    assert routing_of(forward(*weights), GROUPS, "x") == Routing(live)


def test_what_does_not_forward_is_named() -> None:
    for actions, said in (([], "nothing"), ([{"Type": "redirect"}], "redirect")):
        with pytest.raises(BatonError, match=f"x answers users by {said}"):
            routing_of(actions, GROUPS, "x")
