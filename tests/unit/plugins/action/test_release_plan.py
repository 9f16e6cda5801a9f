"""What the operator gave is checked before the plan is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.action.release_plan import _refuse_steps, make
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

SLOT = {"version": "", "state": "absent", "current": False, "verified": False}


def arguments(**changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "action": "release",
        "app_name": "shop",
        "version": "v1.0.0",
        "strategy": "blue_green",
        "max_surge": "1",
        "max_unavailable": "0",
        "traffic_steps": [],
        "migrator": "app1",
        "state_host": "lb1",
        "play_hosts": ["lb1", "app1"],
        "balancers": {"lb1": {"live": "none", "answering": True, "pools": {}}},
        "hosts": {"app1": {"slots": {"blue": SLOT, "green": SLOT}, "releases": []}},
        "journal": {"runs": [], "verified": []},
        "excluded": {},
        "manifest_dir": None,
        "sha256": "a" * 64,
        "over_unverified": False,
        "past_contract": False,
        "database": False,
        "schema": {},
        "migrate_action": "status",
        "revision": "",
        "singletons": {},
    }
    return {**known, **changes}


def test_a_plan_is_made() -> None:
    plan = make(arguments())
    assert (plan.mode, plan.target_slot, plan.sha256) == ("first", "blue", "a" * 64)


@pytest.mark.parametrize(
    "version",
    ["", "latest", "-rf", "v1/2", "..", "../v1", "v1 ", "v1\n", "v1;id", "$(id)", "{{ 7 }}", "é", "a" * 65, ".hidden"],
)
def test_what_is_no_tag_is_refused(version: str) -> None:
    with pytest.raises(BatonError, match="name of a tag"):
        make(arguments(version=version))


@pytest.mark.parametrize("sha256", ["abc", "g" * 64, "a" * 63, "a" * 65])
def test_what_is_no_checksum_is_refused(sha256: str) -> None:
    with pytest.raises(BatonError, match="64 hexadecimal digits"):
        make(arguments(sha256=sha256))


def test_the_manifest_gives_the_checksum(tmp_path: Path) -> None:
    (tmp_path / "shop-v1.0.0.json").write_text(json.dumps({"sha256": "b" * 64}))
    assert make(arguments(manifest_dir=str(tmp_path), sha256="")).sha256 == "b" * 64
    (tmp_path / "shop-v1.0.0.json").write_text("{}")
    with pytest.raises(BatonError, match="cannot be read as a build's manifest"):
        make(arguments(manifest_dir=str(tmp_path), sha256=""))


def test_the_manifest_gives_the_checksum_of_the_version_before(tmp_path: Path) -> None:
    """Which nobody has named, and of which no host has kept the release."""
    live = {"version": "v2.0.0", "state": "running", "current": True, "verified": True}
    runs = [
        {"action": "release", "version": "v2.0.0", "from_version": "v1.0.0", "outcome": "verified"},
        {"action": "release", "version": "v1.0.0", "from_version": "", "outcome": "verified"},
    ]
    known = arguments(
        action="rollback",
        version="",
        sha256="",
        manifest_dir=str(tmp_path),
        balancers={"lb1": {"live": "green", "answering": True, "pools": {}}},
        hosts={"app1": {"slots": {"blue": SLOT, "green": live}, "releases": [{"version": "v2.0.0", "sha256": "c"}]}},
        journal={"runs": runs, "verified": ["v2.0.0", "v1.0.0"]},
    )
    with pytest.raises(BatonError, match=r"v1\.0\.0 is no longer installed on app1, and its artifact is not known"):
        make(known)
    (tmp_path / "shop-v1.0.0.json").write_text(json.dumps({"sha256": "b" * 64}))
    plan = make(known)
    assert (plan.version, plan.mode, plan.sha256) == ("v1.0.0", "warm", "b" * 64)
    # A build that is spoiled is in nobody's way as long as the hosts have the release.
    (tmp_path / "shop-v1.0.0.json").write_text("{}")
    with pytest.raises(BatonError, match="cannot be read as a build's manifest"):
        make(known)
    known["hosts"]["app1"]["releases"].append({"version": "v1.0.0", "sha256": "d" * 64})
    assert make(known).sha256 == "d" * 64


@pytest.mark.parametrize("key", ["balancers", "hosts"])
def test_an_empty_group_is_refused(key: str) -> None:
    with pytest.raises(BatonError, match="at least one host"):
        make(arguments(**{key: {}}))


@pytest.mark.parametrize("left_out", ["lb1", "app1"])
def test_a_part_of_the_environment_is_refused(left_out: str) -> None:
    hosts = [host for host in ("lb1", "app1") if host != left_out]
    with pytest.raises(BatonError, match=f"{left_out} not in this run"):
        make(arguments(play_hosts=hosts))


def test_a_migrator_that_is_no_app_host_is_refused() -> None:
    with pytest.raises(BatonError, match="the migrator is db1"):
        make(arguments(migrator="db1"))


def test_a_host_that_did_not_answer_is_lost() -> None:
    with pytest.raises(BatonError, match=r"app1 \(unreachable\)"):
        make(arguments(hosts={"app1": {"unreachable": True}}))


def test_a_run_with_step_is_refused_by_the_plan_too() -> None:
    """With --step somebody may leave out the task that judges how the run was started."""
    with pytest.raises(BatonError, match="--step"):
        _refuse_steps(asked=True)
    _refuse_steps(asked=False)
