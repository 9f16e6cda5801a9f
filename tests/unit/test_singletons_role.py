"""What the role singletons gives each host, where it looks again under the fence, and when a run says that all of them are gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLES = Path(__file__).resolve().parents[2] / "roles"
GIVEN = {"mailer": {"command": ["bin/mailer"]}, "reporter": {"command": ["bin/reporter"], "host": "app2"}}
PLAN: dict[str, Any] = {
    "hosts": ["app1", "app2"],
    "start": {"app1": ["mailer"], "app2": ["reporter"]},
    "back": {"app2": ["mailer"]},
    "as_before": False,
}
ENDED = {"singletons": [], "changed": True}


def worked_out(role: str, wanted: str, **known: Any) -> Any:
    """Return a variable of a role."""
    loader = DataLoader()
    variables = {**loader.load_from_file(str(ROLES / role / "vars" / "main.yml"), trusted_as_template=True), **known}
    return Templar(loader=loader, variables=variables).template(variables[wanted])


def of_role(wanted: str, host: str = "app1", *, plan: dict[str, Any] | None = None, **known: Any) -> Any:
    made = {"plan_made": {"plan": {"singletons": {**PLAN, **(plan or {})}}}, "inventory_hostname": host}
    return worked_out("singletons", wanted, slot_singletons=GIVEN, **made, **known)


def test_each_host_is_given_its_own() -> None:
    assert of_role("singletons_given") == {"mailer": GIVEN["mailer"]}
    assert of_role("singletons_given", "app2") == {"reporter": GIVEN["reporter"]}
    assert of_role("singletons_given", "app3") == {}
    assert of_role("singletons_given", plan={"as_before": True}) == {"mailer": {}}
    assert of_role("singletons_of_before") == {}
    assert of_role("singletons_of_before", "app2") == {"mailer": {}}


MAILER = {"singletons": [{"name": "mailer", "state": "running"}]}


@pytest.mark.parametrize(
    ("host", "known", "expected"),
    [
        pytest.param("app1", {"plan_seen": {"app_slot": ENDED}}, True, id="the plan says so"),
        pytest.param("app3", {"plan_seen": {"app_slot": ENDED}}, False, id="it does not, and nobody was there since"),
        pytest.param(
            "app3",
            {"plan_seen": {"app_slot": ENDED}, "lock_fenced": {"app_slot": ENDED}},
            False,
            id="nor was there anything under the fence",
        ),
        pytest.param(
            "app3",
            {"plan_seen": {"app_slot": ENDED}, "lock_fenced": {"app_slot": MAILER}},
            True,
            id="a late worker has started one",
        ),
        pytest.param(
            "app3",
            {"plan_seen": {"app_slot": ENDED}, "lock_fenced": {"skipped": True}, "stage_slot": MAILER},
            True,
            id="it was seen when the version was staged",
        ),
        pytest.param(
            "app3", {"plan_seen": {"app_slot": MAILER}, "lock_fenced": {"app_slot": MAILER}}, False, id="what stays"
        ),
    ],
)
def test_a_host_is_asked_to_stop_what_it_was_seen_to_run(host: str, known: dict[str, Any], expected: bool) -> None:
    assert of_role("singletons_here", host, **known) is expected


@pytest.mark.parametrize(
    ("told", "gone"),
    [
        pytest.param({"app1": ENDED, "app2": ENDED, "app3": {"skipped": True}}, True, id="all have said so"),
        pytest.param({"app1": ENDED, "app2": {"unreachable": True}}, False, id="one did not answer"),
        pytest.param({"app1": ENDED, "app2": {"failed": True}}, False, id="one could not"),
        pytest.param({"app1": ENDED}, False, id="one was dead before"),
        pytest.param({"app1": ENDED, "app3": ENDED}, False, id="one was dead before, and another one had a late one"),
        pytest.param(
            {"app1": ENDED, "app2": ENDED, "app3": {"unreachable": True}}, False, id="a late one, on a host that died"
        ),
    ],
)
def test_none_is_started_before_all_are_gone(told: dict[str, Any], gone: bool) -> None:
    loader = DataLoader()
    (task,) = loader.load_from_file(str(ROLES / "singletons" / "tasks" / "gone.yml"), trusted_as_template=True)
    known = {
        "groups": {"app": ["app1", "app2", "app3"]},
        "hostvars": {host: {"singletons_end": told[host]} if host in told else {} for host in ("app1", "app2", "app3")},
        "plan_made": {"plan": {"singletons": PLAN}},
        "singletons_word": "singletons_end",
    }
    variables = loader.load_from_file(str(ROLES / "singletons" / "vars" / "main.yml"), trusted_as_template=True)
    templar = Templar(loader=loader, variables={**variables, **known})
    assert all(templar.evaluate_conditional(one) for one in task["ansible.builtin.assert"]["that"]) is gone


def concluded(plan: dict[str, Any], hosts: dict[str, Any], *, settled: bool = True) -> str:
    known = {
        "plan_made": {"plan": plan},
        "groups": {"app": list(hosts)},
        "hostvars": hosts,
        "conclude_settled": settled,
    }
    return str(worked_out("conclude", "conclude_singletons", **known))


def test_the_report_says_what_does_not_run_and_what_nobody_could_ask() -> None:
    plan: dict[str, Any] = {"version": "v1", "from_version": "v2", "singletons": None}
    hosts: dict[str, Any] = {"app1": {}, "app2": {}}
    assert concluded(plan, hosts) == ""
    assert concluded({**plan, "singletons": {"unknown": {}}}, hosts) == ""
    failed = {**hosts, "app1": {"singletons_failed": "app1"}}
    assert "(app1), as said above; mend that, and rollback.yml -e rollback_version=v1 tries again" in concluded(
        plan, failed
    )
    assert "rollback_version=v2" in concluded(plan, failed, settled=False)
    unknown = {**plan, "singletons": {"unknown": {"mailer": "app1 (unreachable)"}}}
    assert concluded(unknown, hosts) == (
        "singletons started nowhere, because they may still run there: mailer of app1 (unreachable)"
    )
    assert concluded(unknown, failed).count(". singletons") == 1
