"""What Ansible really does when hosts fail, as the procedure has to live with it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.environment import APP_HOSTS, Environment
from tests.witness.checker import judge


@contextmanager
def unharmed(shop: Environment, name: str) -> Iterator[None]:
    """Have users lose no request, and be served in the end by the version that served them before."""
    live, version = shop.live(), shop.served()["version"]
    with shop.witness(name) as witness:
        witness.wait_until_flowing()
        yield
        ledger = witness.stop()
    verdict = judge(ledger)
    assert verdict.ok, verdict.reasons
    assert (shop.live(), shop.served()["version"]) == (live, version)


def test_one_app_host_fails_during_stage(shop: Environment) -> None:
    version = shop.new_version()
    obstacle = shop.host("app2") / "shop" / "releases" / version
    obstacle.write_text("a file where the release belongs")
    with unharmed(shop, "stage"):
        played = shop.release(version)
    assert played.code != 0
    assert "abandoned" in played.output
    assert "Switch" not in [one["task"] for one in played.tasks]
    # Every host came to the revert and to the conclusion, the failed one too.
    assert set(played.ran("Say what became of the traffic")) == {"lb1", *APP_HOSTS}
    assert shop.runs()[-1]["outcome"] == "abandoned"
    assert not shop.lease()["owner"]
    obstacle.unlink()
    assert shop.release(version).code == 0


def test_one_app_host_does_not_come_up(shop: Environment) -> None:
    version = shop.new_version(
        edits={
            "shop/__main__.py": "",
            "shop/__init__.py": "\nimport os\nif os.environ.get('BATON_INSTANCE') == 'app3':\n    raise SystemExit('no room')\n",
        }
    )
    with unharmed(shop, "start"):
        played = shop.release(version)
    assert played.code != 0
    assert "no room" in played.output
    assert shop.runs()[-1]["outcome"] == "abandoned"


def test_one_app_host_answers_with_another_version(shop: Environment) -> None:
    lie = "\nimport os\nif os.environ.get('BATON_INSTANCE') == 'app3':\n    __version__ = 'v0.0.1'\n"
    version = shop.new_version(edits={"shop/__init__.py": lie})
    with unharmed(shop, "lie"):
        played = shop.release(version, app_health_deadline=4)
    assert played.code != 0
    assert f"v0.0.1, expected {version}" in played.output
    assert "Switch" not in [one["task"] for one in played.tasks]


def test_one_app_host_fails_during_revert(shop: Environment) -> None:
    """The watch sends v1.2.0 back; stopping it fails on app2, and the others are stopped all the same."""
    live = shop.live()
    with shop.witness("revert", rate=100) as witness:
        witness.wait_until_flowing()
        spoil = f"mv {shop.host('app2')}/supervisor/supervisord.conf {shop.host('app2')}/supervisor/away"
        played = shop.release(
            "v1.2.0", watch_seconds=10, before="Stop the version that did not make it", sabotage=spoil
        )
        ledger = witness.stop()
    (shop.host("app2") / "supervisor" / "away").rename(shop.host("app2") / "supervisor" / "supervisord.conf")
    assert played.code != 0
    assert shop.live() == live
    verdict = judge(ledger, allow_5xx_of="v1.2.0")
    assert verdict.ok, verdict.reasons
    failed = {
        one["host"] for one in played.tasks if one["outcome"] == "failed" and one["task"].startswith("Stop the version")
    }
    assert failed == {"app2"}
    idle = "green" if live == "blue" else "blue"
    assert {name for name in shop.pids() if name.endswith(f"shop-{idle}")} == {f"app2/shop-{idle}"}
    assert shop.runs()[-1]["outcome"] == "reverted"
    assert not shop.lease()["owner"]


def test_one_app_host_is_lost_during_revert(shop: Environment) -> None:
    live = shop.live()
    with shop.witness("lost", rate=100) as witness:
        witness.wait_until_flowing()
        played = shop.release(
            "v1.2.0", watch_seconds=10, before="Switch back, from whatever is live", sabotage=shop.sever("app2")
        )
        ledger = witness.stop()
    assert played.code != 0
    assert shop.live() == live
    verdict = judge(ledger, allow_5xx_of="v1.2.0")
    assert verdict.ok, verdict.reasons
    assert shop.runs()[-1]["outcome"] == "reverted"


def test_the_balancer_is_lost_before_the_switch(shop: Environment) -> None:
    """What is live is unknown then, so nothing on the app hosts is touched: both slots run on."""
    version, live = shop.new_version(), shop.live()
    with unharmed(shop, "switch"):
        played = shop.release(version, before="Switch", sabotage=shop.sever("lb1"), release_state_host="app1")
        both = {name for name in shop.pids() if "shop-" in name}
    assert played.code != 0
    assert "not known on every load balancer" in " ".join(played.output.split())
    assert both == {f"{host}/shop-{slot}" for host in APP_HOSTS for slot in ("blue", "green")}
    shop.mend()
    played = shop.release(version, release_state_host="app1")
    assert played.code == 0, played.output
    assert shop.live() != live


def test_the_balancer_is_lost_in_the_rescue(shop: Environment) -> None:
    """The bad version stays live, because nobody can say what is live; mended, a rollback takes it back at once."""
    before, good = shop.live(), shop.served()["version"]
    # Stage it anew: an earlier test has left it stopped in the idle slot.
    played = shop.release(
        "v1.2.0",
        watch_seconds=10,
        before="Switch back, from whatever is live",
        sabotage=shop.sever("lb1"),
        release_state_host="app1",
    )
    assert played.code != 0
    assert "both slots run on" in " ".join(played.output.split())
    assert played.ran("Stop the version that did not make it") == []
    assert {name for name in shop.pids() if "shop-" in name} == {
        f"{host}/shop-{slot}" for host in APP_HOSTS for slot in ("blue", "green")
    }
    shop.mend()
    played = shop.play("rollback", release_state_host="app1")
    assert played.code == 0, played.output
    assert (shop.live(), shop.served()["version"]) == (before, good)


@pytest.mark.parametrize("host", ["app3", "lb1"])
def test_a_host_is_lost_from_the_start(shop: Environment, host: str) -> None:
    version = shop.new_version()
    (shop.severed / host).touch()
    files = shop.snapshot()
    with unharmed(shop, f"start-{host}"):
        played = shop.release(version)
    assert played.code != 0
    assert shop.snapshot() == files
    status = shop.status()
    assert "unknown (unreachable)" in status


def test_a_dead_app_host_does_not_block_the_way_back(shop: Environment) -> None:
    first, second = shop.new_version(), shop.new_version()
    for version in (first, second):
        assert shop.release(version).code == 0
    (shop.severed / "app3").touch()
    played = shop.play("rollback")
    assert "left out app3 (unreachable)" in " ".join(played.output.split())
    assert shop.served()["version"] == first


def test_a_lost_state_host_does_not_block_the_way_back(shop: Environment) -> None:
    first, second = shop.new_version(), shop.new_version()
    for version in (first, second):
        assert shop.release(version, release_state_host="app1").code == 0
    (shop.severed / "app1").touch()
    shop.play("rollback", release_state_host="app1")
    assert shop.served()["version"] == first


def test_a_wrong_checksum_is_refused(shop: Environment) -> None:
    version = shop.new_version()
    with unharmed(shop, "checksum"):
        played = shop.release(version, release_sha256="0" * 64)
    assert played.code != 0
    assert "has the SHA-256" in played.output
    assert not any((shop.host(host) / "shop" / "releases" / version).exists() for host in APP_HOSTS)


def test_a_port_that_is_taken_is_said(shop: Environment) -> None:
    idle = "green" if shop.live() == "blue" else "blue"
    ports = json.loads((shop.root / "ports.json").read_text())
    stop = shop.supervisorctl("app2", "stop", f"shop-{idle}")
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", ports["app2"][idle]))
        squatter.listen()
        with unharmed(shop, "port"):
            played = shop.release(shop.new_version())
    assert played.code != 0, stop
    assert f"port {ports['app2'][idle]} of slot {idle}" in played.output
