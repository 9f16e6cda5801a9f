"""Which of what fails under the role lock stops a run, and which a rollback goes on without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

VARIABLES = Path(__file__).resolve().parents[2] / "roles" / "lock" / "vars" / "main.yml"
GONE = {"unreachable": True, "msg": "no route"}
FULL = {"failed": True, "msg": "no room", "newest_token": 3}
NEWER = {"failed": True, "msg": "a newer run is at work", "newest_token": 9}
WELL = {"changed": False, "slots": {}}


def judged(action: str, fenced: dict[str, dict[str, Any]], *, token: int = 4) -> tuple[list[str], list[str]]:
    """Return what stops the run, and what it goes on without."""
    loader = DataLoader()
    known = {
        "lock_token": token,
        "lock_hosts": list(fenced),
        "plan_made": {"plan": {"action": action}},
        "hostvars": {
            host: {"lock_fenced": {"changed": False, "failed": False, **parts}} for host, parts in fenced.items()
        },
    }
    variables = loader.load_from_file(str(VARIABLES), trusted_as_template=True)
    wanted = {name: variables[name] for name in ("lock_failures", "lock_unfenced", "lock_passed_over")}
    templar = Templar(loader=loader, variables={**wanted, **known})
    return templar.template(variables["lock_unfenced"]), templar.template(variables["lock_passed_over"])


def test_all_is_well() -> None:
    fenced: dict[str, dict[str, Any]] = {
        "lb1": {"lb_switch": WELL, "release_journal": WELL},
        "app1": {"app_slot": WELL},
        "app2": {"skipped": True},
    }
    assert judged("release", fenced) == judged("rollback", fenced) == ([], [])


@pytest.mark.parametrize("failed", [GONE, FULL])
def test_a_rollback_goes_on_without_the_fence_of_an_app_host(failed: dict[str, Any]) -> None:
    fenced = {"lb1": {"lb_switch": WELL}, "app1": {"app_slot": failed}}
    told = [f"app1: {failed['msg']}"]
    assert judged("rollback", fenced) == ([], told)
    assert judged("release", fenced) == (told, [])


def test_a_newer_run_stops_a_rollback_too() -> None:
    fenced = {"app1": {"app_slot": NEWER}, "app2": {"app_slot": FULL}}
    assert judged("rollback", fenced) == (["app1: a newer run is at work"], ["app2: no room"])


def test_without_a_lease_no_run_is_newer() -> None:
    assert judged("rollback", {"app1": {"app_slot": NEWER}}, token=0) == ([], ["app1: a newer run is at work"])


@pytest.mark.parametrize("part", ["lb_switch", "release_journal"])
def test_whatever_else_a_host_was_to_do_counts_although_it_says_the_same(part: str) -> None:
    """A host that is gone has one and the same answer for all that it was to do."""
    unfenced, _ = judged("rollback", {"app1": {part: GONE, "app_slot": GONE}})
    assert unfenced == ["app1: no route"]
