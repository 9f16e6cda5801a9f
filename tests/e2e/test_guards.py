"""Each guard for itself: a fault that only this one can catch, before the step that would make harm of it."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ansible_collections.baton.release.plugins.module_utils.slots import other

from tests.e2e.environment import APP_HOSTS, Environment, Played
from tests.e2e.test_faults import unharmed

ROLLING = {"release_strategy": "rolling"}
CONTRACT = """\
from alembic import op

revision = "0009"
down_revision = "0002"
phase = "contract"


def upgrade():
    op.execute("create table without_the_old (id int)")
"""


def by_hand(shop: Environment, slot: str) -> str:
    """Return the shell command with which somebody who has no lease makes ``slot`` live."""
    live = shop.state("lb1") / "live"
    return f"printf {slot} > {live}.by-hand && mv {live}.by-hand {live}"


def ports(shop: Environment, host: str) -> dict[str, int]:
    """Return the ports of a host."""
    found: dict[str, int] = json.loads((shop.root / "ports.json").read_text())[host]
    return found


@contextmanager
def without_supervisor(shop: Environment, host: str) -> Iterator[str]:
    """Give the shell command after which nothing can be done on ``host`` any more; afterwards it can."""
    config = shop.host(host) / "supervisor" / "supervisord.conf"
    try:
        yield f"mv {config} {config}.away"
    finally:
        config.with_name(f"{config.name}.away").rename(config)


def did(played: Played, task: str) -> bool:
    """Say whether ``task`` ran anywhere."""
    return bool(played.ran(task))


def test_a_switch_after_the_plan_is_seen_before_anything_is_installed(shop: Environment) -> None:
    """The slot that the plan found idle is live then: to install into it would stop what serves."""
    assert shop.release(shop.new_version()).code == 0
    idle = other(shop.live())
    hot = shop.slot("app1", idle)["version"]
    with shop.witness("planned") as witness:
        witness.wait_until_flowing()
        played = shop.release(shop.new_version(), before="Take the lease", sabotage=by_hand(shop, idle))
        witness.stop()
    assert played.code != 0
    assert not did(played, "Install the version")
    assert (shop.live(), shop.served()["version"]) == (idle, hot)
    assert not shop.lease()["owner"]


def test_a_switch_by_hand_between_two_batches_stops_a_rolling_update(shop: Environment) -> None:
    """Somebody has taken all traffic back while the second host was being replaced: it stays there."""
    before, served = shop.live(), shop.served()["version"]
    count = shop.root / "controllers-seen"
    second = f"echo >> {count}; test $(wc -l < {count}) -ne 2 || {{ {by_hand(shop, before)}; }}"
    seat = "Change where the batch's share of the requests goes"
    played = shop.release(shop.new_version(), before=seat, sabotage=second, **ROLLING)
    count.unlink()
    assert played.code != 0
    assert f"Found: {before} is live on this load balancer. Expected: mixed" in " ".join(played.output.split())
    assert (shop.live(), shop.served()["version"]) == (before, served)


def test_a_switch_by_hand_after_the_last_batch_stops_a_rolling_update(shop: Environment) -> None:
    before, served = shop.live(), shop.served()["version"]
    whole = "Have the slot live as a whole"
    played = shop.release(shop.new_version(), before=whole, sabotage=by_hand(shop, before), **ROLLING)
    assert played.code != 0
    assert f"Found: {before} is live on this load balancer. Expected: mixed" in " ".join(played.output.split())
    assert (shop.live(), shop.served()["version"]) == (before, served)


def test_a_load_balancer_that_leads_elsewhere_is_found_before_the_switch(shop: Environment) -> None:
    """Every server is what it should be, but the pool that the load balancer calls by the slot's name is another one."""
    own, idle, version = ports(shop, "lb1"), other(shop.live()), shop.new_version()
    crossed = {slot: f"http://127.0.0.1:{own[f'preview_{other(slot)}']}" for slot in ("blue", "green")}
    with unharmed(shop, "crossed"):
        played = shop.release(version, traffic_preview=crossed, app_health_deadline=4)
    assert played.code != 0
    assert f"lb1 to {idle} answers {shop.served()['version']}, expected {version}" in " ".join(played.output.split())
    assert not did(played, "Switch")


def test_what_users_get_after_the_switch_is_asked_for_its_version(shop: Environment) -> None:
    before, served, version = shop.live(), shop.served()["version"], shop.new_version()
    verify = "Ask through this load balancer for the version"
    played = shop.release(version, before=verify, sabotage=by_hand(shop, before), verify_deadline=4)
    assert played.code != 0
    assert f"answers {served}, expected {version}" in " ".join(played.output.split())
    assert not did(played, "Measure slice 1")
    assert (shop.live(), shop.served()["version"]) == (before, served)


def test_a_pool_that_lacks_a_server_is_refused_before_anything_is_touched(shop: Environment) -> None:
    version, admin = shop.new_version(), f"http://127.0.0.1:{ports(shop, 'lb1')['admin']}"
    path = f"{admin}/id/shop_{other(shop.live())}/upstreams/2"
    with urllib.request.urlopen(urllib.request.Request(path, method="DELETE"), timeout=10):
        pass
    try:
        played = shop.release(version)
    finally:
        shop.supervisorctl("lb1", "restart", "caddy")
    assert played.code != 0
    assert "Expected: one server for each of app1, app2, app3" in " ".join(played.output.split())
    assert not did(played, "Take the lease")


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        pytest.param("Switch", {}, id="at once"),
        pytest.param("Change where the batch's share of the requests goes", ROLLING, id="rolling"),
    ],
)
def test_traffic_does_not_move_below_the_floor(shop: Environment, task: str, settings: dict[str, Any]) -> None:
    """A server that was well when it was asked is gone when traffic is to move."""
    before, version = shop.live(), shop.new_version()
    gone = f"shop-{before if settings else other(before)}"
    control = Path(sys.executable).with_name("supervisorctl")
    config = shop.host("app3") / "supervisor" / "supervisord.conf"
    played = shop.release(version, before=task, sabotage=f"{control} -c {config} stop {gone}", **settings)
    if settings:
        shop.supervisorctl("app3", "start", gone)
    assert played.code != 0
    assert "at least 3 servers up" in " ".join(played.output.split())
    assert shop.live() == before
    assert shop.runs()[-1]["outcome"] == "abandoned"


def test_a_watch_that_saw_too_little_proves_nothing(shop: Environment) -> None:
    with unharmed(shop, "little"):
        played = shop.release(shop.new_version(), watch_min_requests=1_000_000)
    assert played.code != 0
    assert "Expected: at least 1000000" in " ".join(played.output.split())
    assert shop.runs()[-1]["outcome"] == "reverted"


def test_a_rollback_stops_everywhere_when_one_app_host_fails(shop: Environment) -> None:
    first, second, third = shop.served()["version"], shop.new_version(), shop.new_version()
    for version in (second, third):
        assert shop.release(version).code == 0
    with without_supervisor(shop, "app2") as spoil, unharmed(shop, "barrier"):
        played = shop.play("rollback", rollback_version=first, before="Install the version", sabotage=spoil)
    assert played.code != 0
    assert not did(played, "Start the version")
    assert set(played.ran("Say what became of the traffic")) == {"lb1", *APP_HOSTS}


def test_a_host_that_fails_in_the_end_does_not_keep_the_lock(shop: Environment) -> None:
    version = shop.new_version()
    with without_supervisor(shop, "app2") as spoil:
        played = shop.release(version, before="Mark", sabotage=spoil)
    assert played.code != 0
    assert "app2 could not be told" in " ".join(played.output.split())
    assert not shop.lease()["owner"]
    assert shop.served()["version"] == version
    again = shop.release(version)
    assert again.code == 0, again.output


def test_the_way_back_past_a_contract_migration_is_refused(shop: Environment) -> None:
    """The journal remembers it for as long as the version before it is remembered."""
    before, served = shop.live(), shop.served()["version"]
    version = shop.new_version(edits={"migrations/versions/0009_contract.py": CONTRACT})
    refused = shop.release(version)
    assert refused.code != 0
    assert "contract migrations: 0009; nothing was changed" in " ".join(refused.output.split())
    assert (shop.live(), "without_the_old" in shop.schema()) == (before, False)
    assert shop.release(version, database_allow_contract=True).code == 0
    back = shop.play("rollback")
    assert back.code != 0
    assert f"{version} applied 0009, a schema change that {served} does not survive" in " ".join(back.output.split())
    assert shop.served()["version"] == version
    secrets = json.loads((shop.root / "secrets.json").read_text())
    with psycopg.connect(secrets["DATABASE_URL"].replace("+psycopg", "")) as connection:
        connection.execute("drop table without_the_old")
        connection.execute("update alembic_version set version_num = '0002'")
    undone = shop.play("rollback", rollback_past_contract=True)
    assert undone.code == 0, undone.output
    assert (shop.live(), shop.served()["version"]) == (before, served)
