"""The main path: releases and rollbacks under traffic, judged by what a client outside wrote down."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.e2e.environment import APP_HOSTS, Environment
from tests.witness.checker import judge

REMOTE_CALLS_PER_APP_HOST = 6
BAD_MIGRATION = """\
from alembic import op

revision = "0009"
down_revision = "0002"
phase = "expand"


def upgrade():
    op.execute("create table half_done (id int)")
    op.execute("select 1/0")
"""


def test_a_release_moves_traffic_without_losing_a_request(shop: Environment) -> None:
    version, before, database = shop.new_version(), shop.live(), shop.pids()["db1/postgres"]
    with shop.witness("forward") as witness:
        witness.wait_until_flowing()
        played = shop.release(version, watch_seconds=2)
        ledger = witness.stop()
    assert played.code == 0, played.output
    verdict = judge(ledger)
    assert verdict.ok, verdict.reasons
    assert version in verdict.versions
    assert shop.live() != before
    assert shop.served()["version"] == version
    assert [event["event"] for event in shop.runs()[-2:]] == ["started", "finished"]
    assert shop.runs()[-1]["outcome"] == "verified"
    assert not shop.lease()["owner"]
    assert shop.pids()["db1/postgres"] == database


def test_a_release_starts_python_few_times_on_an_app_host(shop: Environment) -> None:
    played = shop.release(shop.new_version())
    assert played.code == 0, played.output
    calls = {host: played.remote_calls(host) for host in APP_HOSTS}
    assert all(len(tasks) <= REMOTE_CALLS_PER_APP_HOST for tasks in calls.values()), calls


def test_released_again_nothing_changes(shop: Environment) -> None:
    version = str(shop.served()["version"])
    before = shop.snapshot()
    played = shop.release(version)
    assert played.code == 0, played.output
    assert "nothing: " + version in played.output
    assert (played.changed(), shop.snapshot()) == ([], before)


def test_starting_one_slot_restarts_nothing_else(shop: Environment) -> None:
    live, before = shop.live(), shop.pids()
    played = shop.release(shop.new_version())
    assert played.code == 0, played.output
    after = shop.pids()
    touched = {name for name in before if before[name] != after.get(name)}
    idle = {f"{host}/shop-{'green' if live == 'blue' else 'blue'}" for host in APP_HOSTS}
    assert touched <= idle


def test_a_version_that_fails_under_traffic_is_sent_back_by_the_watch(shop: Environment) -> None:
    live, version = shop.live(), str(shop.served()["version"])
    with shop.witness("bad", rate=100) as witness:
        witness.wait_until_flowing()
        played = shop.release("v1.2.0", watch_seconds=20, watch_slice_seconds=5)
        ledger = witness.stop()
    assert played.code != 0
    assert "reverted" in played.output
    verdict = judge(ledger, allow_5xx_of="v1.2.0")
    assert verdict.ok, verdict.reasons
    assert verdict.failed_by_bad_version
    assert (shop.live(), shop.served()["version"]) == (live, version)
    assert shop.runs()[-1]["outcome"] == "reverted"
    # The first slice that saw the errors was enough.
    assert played.ran("Measure slice 1")
    assert not played.ran("Measure slice 4")
    # What did not make it does not go on running, and is no way back.
    assert not any(name.endswith(f"shop-{'green' if live == 'blue' else 'blue'}") for name in shop.pids())
    refused = shop.play("rollback", rollback_version="v1.2.0")
    assert refused.code != 0
    assert "never verified" in refused.output


def test_a_hot_rollback_needs_only_the_load_balancer(shop: Environment) -> None:
    first = shop.served()["version"]
    assert shop.release(shop.new_version()).code == 0
    running = shop.pids()
    with shop.witness("hot") as witness:
        witness.wait_until_flowing()
        played = shop.play("rollback")
        ledger = witness.stop()
    assert played.code == 0, played.output
    assert "hot: " in played.output
    assert judge(ledger).ok, judge(ledger).reasons
    assert shop.served()["version"] == first
    assert shop.pids() == running
    changes = Counter(change.split(" (")[0] for change in played.changed() if "lb1" not in change)
    assert not changes


def test_a_warm_rollback_stages_the_retained_release(shop: Environment) -> None:
    first, second, third = shop.served()["version"], shop.new_version(), shop.new_version()
    for version in (second, third):
        assert shop.release(version).code == 0
    with shop.witness("warm") as witness:
        witness.wait_until_flowing()
        played = shop.play("rollback", rollback_version=first)
        ledger = witness.stop()
    assert played.code == 0, played.output
    assert "warm: " in played.output
    assert judge(ledger).ok, judge(ledger).reasons
    assert shop.served()["version"] == first
    # And forward again: the newest version still runs in the other slot.
    played = shop.release(third)
    assert played.code == 0, played.output
    assert "hot: " in played.output


def test_a_rollback_to_what_was_never_released_is_refused(shop: Environment) -> None:
    before = shop.snapshot()
    played = shop.play("rollback", rollback_version="v7.7.7")
    assert played.code != 0
    assert "v7.7.7 was never verified" in played.output
    assert shop.snapshot() == before


def test_the_artifact_can_come_from_the_controller(shop: Environment) -> None:
    version = shop.new_version()
    played = shop.release(version, app_artifact_url="")
    assert played.code == 0, played.output
    assert shop.served()["version"] == version


def test_the_state_host_is_the_first_app_host_unless_told(shop: Environment) -> None:
    version, served = shop.new_version(), shop.served()["version"]
    played = shop.release(version, release_state_host="app1")
    assert played.code == 0, played.output
    assert (shop.state("app1") / "journal.jsonl").exists()
    # What is live for the tests after this one has to be in the journal that they look at.
    assert shop.play("rollback", rollback_version=served).code == 0


def test_the_choice_survives_the_balancer(shop: Environment) -> None:
    live, version = shop.live(), shop.served()["version"]
    shop.supervisorctl("lb1", "restart", "caddy")
    assert (shop.live(), shop.served()["version"]) == (live, version)


def test_a_migration_that_fails_leaves_the_old_version_serving(shop: Environment) -> None:
    live, served = shop.live(), shop.served()["version"]
    version = shop.new_version(edits={"migrations/versions/0009_bad.py": BAD_MIGRATION})
    played = shop.release(version)
    assert played.code != 0
    assert "abandoned" in played.output
    assert (shop.live(), shop.served()["version"]) == (live, served)
    assert "half_done" not in shop.schema()


@pytest.mark.parametrize("version", ["latest", "../v1", "v1;id", "-rf", "v 1", ""])
def test_a_version_that_is_no_tag_is_refused_before_anything_is_touched(shop: Environment, version: str) -> None:
    before = shop.snapshot()
    played = shop.release(version)
    assert played.code != 0
    found = f"release_version: found {version!r}" if version else "the version ''"
    assert found in played.output
    assert shop.snapshot() == before


def test_a_part_of_the_environment_is_refused(shop: Environment) -> None:
    before = shop.snapshot()
    played = shop.play("release", "--limit", "lb1,app1", release_version=shop.new_version())
    assert played.code != 0
    assert "without --limit" in played.output
    assert shop.snapshot() == before
