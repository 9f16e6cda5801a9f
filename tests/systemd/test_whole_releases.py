"""Whole releases behind a Caddy and behind an nginx, each on two app hosts: forward, back, host after host, through kills and a reboot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import artifacts
from tests.fleet.hosts import Fleet
from tests.systemd.answers import first_answer
from tests.systemd.behind import DRIVERS, Behind

__all__ = ["artifacts"]

IN_PLACE = {"release_strategy": "rolling", "release_max_surge": 0, "release_max_unavailable": 1}


@pytest.fixture(scope="module", params=DRIVERS)
def shop(
    request: pytest.FixtureRequest, fleet: Fleet, artifacts: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Behind]:
    """The hosts with everything that ``provision.yml`` does, and v1.0.0 released."""
    shop = Behind(fleet, tmp_path_factory.mktemp(request.param), artifacts, request.param)
    shop.begin()
    shop.must("provision", **{f"{shop.driver}_reload": True})
    shop.must("release", release_version="v1.0.0")
    yield shop
    shop.end()


def test_in_steps_and_back_loses_no_request(shop: Behind) -> None:
    with shop.unharmed("steps"):
        shop.must("release", release_version="v1.1.0", traffic_steps=[30])
        assert shop.served()["version"] == "v1.1.0"
        back = shop.must("rollback")
    assert "hot: " in back.output
    assert shop.served()["version"] == "v1.0.0"


def test_host_after_host_loses_no_request(shop: Behind) -> None:
    version = shop.new_version()
    with shop.unharmed("rolling"):
        played = shop.must("release", release_version=version, **IN_PLACE)
    assert "nothing stays hot" in played.output
    assert shop.served()["version"] == version


def test_it_comes_back_with_what_is_live_after_a_kill_and_a_reboot(shop: Behind) -> None:
    live = f"200 {shop.served()['version']}"
    shop.balancer(f"systemctl kill --kill-whom=main --signal=KILL {shop.driver}")
    assert first_answer(shop.url) == live
    shop.balancer(f"systemctl kill --signal=KILL {shop.driver}")
    assert first_answer(shop.url) == live
    assert shop.fleet.restart("lb1") == []
    assert first_answer(shop.url) == live


def test_what_it_cannot_do_is_refused_before_anything_is_touched(shop: Behind) -> None:
    served = shop.served()["version"]
    excluded = {"app2.prod.example.com": "its disk is broken"}
    for playbook, settings, said in (
        ("release", {"release_version": "v1.1.0", "release_excluded_hosts": excluded}, "cannot hold a single server"),
        ("maintenance", {"maintenance": "hold"}, f"the driver {shop.driver}, which cannot hold requests"),
    ):
        refused = shop.play(playbook, **settings)
        words = " ".join(refused.output.split())
        assert refused.code != 0, words
        for part in ("Found:", "Expected:", "To do:", said):
            assert part.lower() in words.lower(), words
        assert refused.changed() == []
    assert shop.served()["version"] == served
