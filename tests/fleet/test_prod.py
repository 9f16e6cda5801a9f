"""``inventories/prod`` on real hosts: provisioned, released, taken back, under clients of both load balancers."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    ("settings", "before", "nth"),
    [
        pytest.param({}, "Watch", 0, id="after the switch"),
        pytest.param(SURGE, "Start the version", 2, id="between two batches"),
    ],
)
def test_a_load_balancer_that_is_killed_meanwhile_comes_back_with_what_is_live(
    shop: Prod, settings: dict[str, Any], before: str, nth: int
) -> None:
    version = shop.new_version()
    lb2 = shop.fleet.container("lb2")
    kill = f"docker exec {lb2} systemctl kill --signal=KILL haproxy.service"
    with shop.unharmed(f"killed-{nth}", "lb1"):
        played = shop.play("release", release_version=version, before=before, nth=nth, sabotage=kill, **settings)
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
