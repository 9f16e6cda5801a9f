"""Whatever is wrong with what a run is given, it is said before anything is touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.environment import Environment, Played

# As people write them: without quotes, with slips, and with what does not belong there.
BAD = """\
release_reason: 12:30:45
release_owner: no
release_strategy: blue_gren
release_max_surge: lots
relase_lock_ttl: 60
app_keep_releases: 010
app_environment: {DEBUG: yes, PASSWORD: 5}
app_command: [python, 5]
app_root: /srv/../x
database_migrate: maybe
verify_deadline: "{{ nope }}"
verify_paths: ["/x y"]
revert_wait: .nan
watch_max_error_rate: 5
"""
SAID = (
    "release_reason: found 45045",
    "release_owner: found False (a truth value), expected text; to do: write it in quotes",
    "release_strategy: found 'blue_gren' (text), expected one of blue_green, rolling; to do: did you mean blue_green?",
    "release_max_surge: found 'lots'",
    "relase_lock_ttl: found a variable that nobody reads, expected a setting; to do: did you mean release_lock_ttl?",
    "app_keep_releases: found 010, which YAML reads as 8",
    "app_environment.DEBUG: found a truth value, expected text",
    "app_environment.PASSWORD: found a whole number",
    "app_command[1]: found a whole number",
    "app_root: found '/srv/../x'",
    "database_migrate: found 'maybe'",
    "verify_deadline: found a template that cannot be resolved",
    "verify_paths[0]: found '/x y'",
    "revert_wait: found nan",
    "watch_max_error_rate: found 5",
)
ONE_PORT = {"blue": {"port": 9}, "green": {"port": 9}}
TWO_PORTS = {"app_address": "127.0.0.1", "app_slots": {"blue": {"port": 1}, "green": {"port": 2}}}
BALANCER = {"app_slots": {"blue": {"port": 2019}, "green": {"port": 2}}, "traffic_admin": "http://127.0.0.1:2019"}
TEMPLATES = ("{{ lookup('pipe', 'touch CANARY') }}", "{% set x = lookup('pipe', 'touch CANARY') %}v1.1.0{{ x }}")


def refused(shop: Environment, *arguments: str, playbook: str = "release", **variables: Any) -> Played:
    """Run a playbook that has to be refused, with nothing touched and no traceback."""
    before, schema, pids = shop.snapshot(), shop.schema(), shop.pids()
    played = shop.play(playbook, *arguments, **variables)
    assert played.code != 0, played.output
    assert "Traceback" not in played.output
    assert not [task for host in ("app1", "app2", "app3", "lb1") for task in played.remote_calls(host)]
    assert (shop.snapshot(), shop.schema(), shop.pids()) == (before, schema, pids)
    return played


def test_all_that_is_wrong_is_said_at_once_with_its_place(shop: Environment, tmp_path: Path) -> None:
    path = tmp_path / "group_vars" / "all.yml"
    path.parent.mkdir()
    path.write_text(BAD)
    (tmp_path / "hosts.yml").write_text("all: {}\n")
    played = refused(shop, "-i", str(tmp_path / "hosts.yml"), release_version="v1.1.0")
    assert [said for said in SAID if said not in played.output] == []
    assert f"({path}:3)" in played.output
    assert f"Found: {len(SAID)} settings of this run" in played.output


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_on_the_command_line_is_not_evaluated(shop: Environment, tmp_path: Path, template: str) -> None:
    canary = tmp_path / "canary"
    played = refused(shop, release_version=template.replace("CANARY", str(canary)))
    assert "release_version: found a template on the command line" in played.output
    assert not canary.exists()


@pytest.mark.parametrize(
    ("playbook", "arguments", "said"),
    [
        ("release", ["--limit", "lb1,app1"], "--limit: found a run without app2, app3"),
        ("release", ["--tags", "watch"], "--tags: found watch"),
        ("release", ["--skip-tags", "verify"], "--skip-tags: found verify"),
        ("release", ["--skip-tags", "always"], "without --start-at-task, --tags, --skip-tags"),
        ("release", ["--start-at-task", "Note that every step was done"], "without --start-at-task"),
        ("rollback", ["--tags", "nothing"], "--tags: found nothing"),
        ("rollback", ["--start-at-task", "Take the lock"], "without --start-at-task"),
        ("release", ["--start-at-task", "Mark the release as proven on this host"], "Nothing was touched"),
        ("release", ["--start-at-task", "Report"], "Nothing was touched"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_run_of_a_part_is_refused(shop: Environment, playbook: str, arguments: list[str], said: str) -> None:
    versions = {"release_version": "v1.1.0"} if playbook == "release" else {}
    played = refused(shop, *arguments, playbook=playbook, **versions)
    assert said in " ".join(played.output.split())


@pytest.mark.parametrize(
    "task", ["See what the load balancers serve, what the app hosts hold, and the journal", "Take the lease"]
)
def test_a_run_cannot_start_where_it_would_know_too_little(shop: Environment, task: str) -> None:
    """Ansible itself looks for the task in what is included statically only, says so, and runs nothing."""
    before = shop.snapshot()
    played = shop.play("release", "--start-at-task", task, release_version="v1.1.0")
    assert f'No matching task "{task}" found' in played.output
    assert played.tasks == []
    assert shop.snapshot() == before


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        pytest.param(
            {"app": {"hosts": {"app1": {"app_slots": ONE_PORT}}}},
            "app_slots.green.port on app1: found 9",
            id="overlapping slots",
        ),
        pytest.param({"all": {"vars": {"plan_migrator": "lb1"}}}, "group migrator", id="a migrator elsewhere"),
        pytest.param(
            {"app": {"hosts": {"app1": TWO_PORTS, "app2": TWO_PORTS}}}, "a port of its own", id="duplicate ports"
        ),
        pytest.param({"lb": {"hosts": {"app1": BALANCER}}}, "app1 is in both groups, app and lb", id="in both groups"),
    ],
)
def test_an_inventory_that_cannot_work_is_refused(
    shop: Environment, tmp_path: Path, groups: dict[str, object], said: str
) -> None:
    path = tmp_path / "over.json"
    path.write_text(json.dumps(groups))
    played = refused(shop, "-i", str(path), release_version="v1.1.0")
    assert said in " ".join(played.output.split())


@pytest.mark.parametrize("empty", ["app", "lb", "both"])
def test_an_inventory_without_hosts_is_refused(shop: Environment, tmp_path: Path, empty: str) -> None:
    groups: dict[str, dict[str, Any]] = {name: {"hosts": {}} for name in ("app", "lb")}
    if empty != "both":
        there = "lb" if empty == "app" else "app"
        groups[there] = {"hosts": {f"{there}1": {"ansible_connection": "local"}}}
    path = tmp_path / "empty.json"
    path.write_text(json.dumps(groups))
    before = shop.snapshot()
    played = shop.play("release", "--inventory", str(path), release_version="v1.1.0")
    assert played.code != 0, played.output
    assert f"Found: no hosts in the group {'app' if empty == 'both' else empty} of {path}" in played.output
    assert "Traceback" not in played.output
    assert shop.snapshot() == before
