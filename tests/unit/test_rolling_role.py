"""Which hosts an update in place brings back: those that changed, but none that had no place in the slot it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

VARIABLES = Path(__file__).resolve().parents[2] / "roles" / "rolling" / "vars" / "main.yml"
SEATS = {"app1": "green", "app2": "out", "app3": "blue"}


@pytest.mark.parametrize(
    ("absent", "excluded", "expected"),
    [
        ([], {}, ["app2", "app1"]),
        (["app1"], {}, ["app2"]),
        ([], {"app2": "its disk is broken"}, ["app1"]),
        (["app1"], {"app2": "its disk is broken"}, []),
    ],
)
def test_what_goes_back(absent: list[str], excluded: dict[str, str], expected: list[str]) -> None:
    loader = DataLoader()
    plan: dict[str, Any] = {"from_slot": "blue", "absent": absent, "excluded": excluded}
    variables = {
        **loader.load_from_file(str(VARIABLES), trusted_as_template=True),
        "groups": {"lb": ["lb1"]},
        "hostvars": {"lb1": {"rolling_seen": {"seats": SEATS}}},
        "plan_made": {"plan": plan},
    }
    assert Templar(loader=loader, variables=variables).template(variables["rolling_changed"]) == expected
