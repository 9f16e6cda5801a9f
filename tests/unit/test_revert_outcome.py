"""What a revert makes of what the load balancers have told: only where no client reaches the new version may it be stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

PLAN = {"action": "release", "target_slot": "green", "from_slot": "blue", "steps": ["stage"]}
VARIABLES = Path(__file__).resolve().parents[2] / "roles" / "revert" / "vars" / "main.yml"


def outcome(*told: dict[str, Any], mode: str = "forward") -> str:
    """Return the outcome of a release from blue to green, where each load balancer has told this."""
    loader = DataLoader()
    names = [f"lb{number}" for number, _one in enumerate(told, 1)]
    variables = {
        **loader.load_from_file(str(VARIABLES), trusted_as_template=True),
        "groups": {"lb": names},
        "hostvars": {name: {"revert_balancer": one} for name, one in zip(names, told, strict=True)},
        "plan_made": {"plan": {**PLAN, "mode": mode}},
    }
    templar = Templar(loader=loader, variables=variables)
    return str(templar.template(variables["revert_told_outcome"]))


BACK = {"live": "blue", "share": 0, "changed": True}
NEVER = {"live": "blue", "share": 0, "changed": False}
# lb_switch failed: what it knows is in its message, and nothing was changed.
STILL_SHARED = {"live": "blue", "share": 25, "failed": True, "changed": False}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param([BACK, NEVER], "reverted", id="taken back where it had moved"),
        pytest.param([NEVER, NEVER], "abandoned", id="it had moved nowhere"),
        pytest.param([BACK, {"live": "green", "share": 0, "changed": False}], "failed", id="one is still on it"),
        pytest.param([BACK, STILL_SHARED], "failed", id="a share of the clients still reaches it at one"),
        pytest.param([BACK, {"msg": "unreachable"}], "unknown", id="one does not say"),
        pytest.param([{**NEVER, "failed": True}], "abandoned", id="a failure from which it had never moved"),
    ],
)
def test_the_outcome_of_a_revert(told: list[dict[str, Any]], expected: str) -> None:
    assert outcome(*told) == expected


def test_hosts_that_did_not_come_back_take_nothing_from_what_is_live() -> None:
    live = {"live": "green", "share": 0, "changed": False}
    assert outcome(live, live, mode="rejoin") == "abandoned"
    assert outcome(live, {"msg": "unreachable"}, mode="rejoin") == "unknown"
    variables = DataLoader().load_from_file(str(VARIABLES), trusted_as_template=True)
    for mode, action, expected in (
        ("rejoin", "release", "none"),
        ("forward", "release", "blue"),
        # What a release mends beside a version that is live and proven is no reason to leave that version.
        ("nothing", "release", "none"),
        ("nothing", "rollback", "blue"),
    ):
        plan = {"plan": {"from_slot": "blue", "mode": mode, "action": action}}
        templar = Templar(loader=DataLoader(), variables={**variables, "plan_made": plan})
        assert templar.template(variables["revert_to"]) == expected
