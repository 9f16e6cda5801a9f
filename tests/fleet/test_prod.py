"""``inventories/prod`` on real hosts: provisioned, released, taken back, under clients of both load balancers."""

from __future__ import annotations

import time
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.slots import other

from tests.fleet.capacity import Capacity
from tests.fleet.prod import DOMAIN, Prod

SURGE: dict[str, Any] = {"release_strategy": "rolling"}
IN_PLACE: dict[str, Any] = {**SURGE, "release_max_surge": 0, "release_max_unavailable": 1}
APP_HOSTS = ("app1", "app2", "app3")
SAMPLES = 30
"""An update takes half a minute and more: at ten a second that would be 300, but a busy machine is late."""
BOUNDED_SECONDS = 240
"""Several tasks meet the frozen host, and each finds out for itself; a busy machine took half of this."""
DIES_ON_APP2 = "\nimport os\nif 'app2' in os.environ.get('BATON_INSTANCE', ''):\n    raise SystemExit('no room')\n"


def test_provisioned_again_nothing_changes(shop: Prod) -> None:
    assert shop.must("provision").changed() == []


def test_blue_green_and_back_loses_no_request(shop: Prod) -> None:
    before, served, version = shop.live(), shop.served()["version"], shop.new_version()
    with shop.unharmed("blue-green"):
        assert shop.must("release", release_version=version).changed()
        assert shop.served()["version"] == version
        assert shop.must("release", release_version=version).changed() == []
        back = shop.must("rollback")
    assert "hot: " in back.output
    assert (shop.live(), shop.served()["version"]) == (before, served)


def test_a_release_in_steps_loses_no_request(shop: Prod) -> None:
    version = shop.new_version()
    with shop.unharmed("steps"):
        played = shop.must("release", release_version=version, traffic_steps=[30])
        assert shop.served()["version"] == version
    assert set(played.ran("Have the version reach a share of the clients, in per cent: 30")) == {
        f"lb1{DOMAIN}",
        f"lb2{DOMAIN}",
    }


@pytest.mark.parametrize(
    ("settings", "out"), [pytest.param(SURGE, 0, id="surge"), pytest.param(IN_PLACE, 1, id="in place")]
)
def test_a_rolling_update_loses_no_request_nor_more_capacity_than_it_may(
    shop: Prod, settings: dict[str, Any], out: int
) -> None:
    version = shop.new_version()
    with shop.unharmed(f"rolling-{out}"), Capacity(shop.fleet, "lb1") as at_lb1, Capacity(shop.fleet, "lb2") as at_lb2:
        shop.must("release", release_version=version, **settings)
    assert shop.served()["version"] == version
    for capacity in (at_lb1, at_lb2):
        assert "shop_mixed" in capacity.backends
        assert len(capacity.samples) > SAMPLES
        assert capacity.lowest == len(shop.fleet.names("app")) - out


def test_a_host_that_dies_in_its_batch_sends_all_back(shop: Prod) -> None:
    before, served = shop.live(), shop.served()["version"]
    version = shop.new_version(edits={"shop/__init__.py": DIES_ON_APP2})
    with shop.unharmed("dies"):
        played = shop.release(version, **SURGE)
    assert played.code != 0
    assert "app2" in played.output
    assert played.ran("Start the version") == ["app1.prod.example.com", "app2.prod.example.com"]
    assert (shop.live(), shop.served()["version"]) == (before, served)


def test_a_frozen_host_stops_a_release_in_bounded_time_and_is_named(shop: Prod) -> None:
    """No client asks meanwhile: the frozen host serves users too, and what it holds up is not for a release to prevent."""
    before, served, version = shop.live(), shop.served()["version"], shop.new_version()
    freeze = f"docker pause {shop.fleet.container('app2')}"
    began = time.monotonic()
    try:
        played = shop.play("release", release_version=version, before="Install the version", sabotage=freeze)
    finally:
        took = time.monotonic() - began
        shop.fleet.unpause("app2")
    assert played.code != 0
    assert took < BOUNDED_SECONDS
    assert "app2.prod.example.com" in played.output
    assert "Start the version" not in {one["task"] for one in played.tasks}
    assert (shop.live(), shop.served()["version"]) == (before, served)
    shop.must("release", release_version=version)


def test_a_full_disk_stops_a_release_before_any_traffic_moves(shop: Prod) -> None:
    before, served, version = shop.live(), shop.served()["version"], shop.new_version()
    fill = "sudo mount -t tmpfs -o size=64k none /srv/shop/releases"
    with shop.unharmed("full"):
        shop.fleet.ssh("app3", fill)
        try:
            played = shop.release(version)
        finally:
            shop.fleet.ssh("app3", "sudo umount /srv/shop/releases")
    assert played.code != 0
    assert "No space left on device" in played.output
    assert "Start the version" not in {one["task"] for one in played.tasks}
    assert (shop.live(), shop.served()["version"]) == (before, served)


def test_a_load_balancer_that_is_killed_meanwhile_comes_back_with_what_is_live(shop: Prod) -> None:
    version = shop.new_version()
    lb2 = shop.fleet.container("lb2")
    kill = f"docker exec {lb2} systemctl kill --signal=KILL haproxy.service"
    with shop.unharmed("killed", "lb1"):
        played = shop.play("release", release_version=version, before="Watch", sabotage=kill)
        assert played.code == 0, played.output
    shop.fleet.ssh("lb2", "curl -sS --retry 20 --retry-delay 1 --retry-all-errors -o /dev/null http://127.0.0.1/")
    assert f'"version":"{version}"' in shop.fleet.ssh("lb2", "curl -sS http://127.0.0.1/health").replace(" ", "")


def test_after_a_reboot_of_every_host_what_was_live_answers_and_the_idle_slot_does_not_run(shop: Prod) -> None:
    version = shop.new_version()
    shop.must("release", release_version=version)
    live = shop.live()
    for host in ("db1", *APP_HOSTS, "lb1", "lb2"):
        shop.fleet.kill(host)
    for host in ("db1", *APP_HOSTS, "lb1", "lb2"):
        assert shop.fleet.start(host) == [], host
    for host in APP_HOSTS:
        assert (shop.unit(host, live), shop.unit(host, other(live))) == ("active", "inactive"), host
    for balancer in ("lb1", "lb2"):
        ask = "curl -sS --retry 30 --retry-delay 1 --retry-all-errors http://127.0.0.1/health"
        assert version in shop.fleet.ssh(balancer, ask), balancer
    assert (shop.live(), shop.served()["version"]) == (live, version)
