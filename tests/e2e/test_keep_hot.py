"""The slot before is hot for slot_keep_hot, and no longer; with supervisor the same command again sweeps."""

from __future__ import annotations

import json

from tests.e2e.environment import APP_HOSTS, Environment
from tests.witness.checker import judge


def words(output: str) -> str:
    return " ".join(output.split())


def test_the_slot_before_is_swept_when_its_time_is_over_and_the_way_back_is_warm(shop: Environment) -> None:
    first, version, slot = shop.served()["version"], shop.new_version(), shop.live()
    with shop.witness("keep-hot") as witness:
        witness.wait_until_flowing()
        played = shop.release(version, slot_keep_hot="1h")
        assert played.code == 0, played.output
        assert "1h after the proof it is stopped, and warm" in words(played.output)
        assert f"way back hot: {first} runs in {slot}; hot for another" in words(shop.status())
        again = shop.release(version, slot_keep_hot="1h")
        assert (again.code, again.changed()) == (0, [])

        # An hour later.
        for host in APP_HOSTS:
            path = shop.state(host) / "retirement.json"
            record = json.loads(path.read_text())
            path.write_text(json.dumps({**record, "at": record["at"] - 3600}))
        swept = shop.release(version, slot_keep_hot="1h")
        assert swept.code == 0, swept.output
        assert sorted(swept.ran("Stop the slot whose time is over")) == list(APP_HOSTS)
        assert {name for name in shop.pids() if "/shop-" in name} == {
            f"{host}/shop-{shop.live()}" for host in APP_HOSTS
        }
        assert (shop.served()["version"], shop.slot("app1", slot)["version"]) == (version, first)

        back = shop.play("rollback")
        assert back.code == 0, back.output
        assert f"warm: the retained {first} is staged again in {slot}" in words(back.output)
        ledger = witness.stop()
    verdict = judge(ledger)
    assert verdict.ok, verdict.reasons
    assert (shop.live(), shop.served()["version"]) == (slot, first)
