"""A host that is known to be dead is left out, gets no traffic when it comes back, and comes back itself only when it is proven."""

from __future__ import annotations

from typing import Any

from ansible_collections.baton.release.plugins.module_utils.slots import other

from tests.balancers.conftest import haproxy_command
from tests.e2e.behind_haproxy import behind_haproxy
from tests.e2e.environment import Environment
from tests.witness.checker import judge

__all__ = ["haproxy_command"]

WHY = "its disk is broken"


def words(output: str) -> str:
    return " ".join(output.split())


def test_a_dead_host_is_left_out_and_comes_back_only_with_a_proof_of_its_version(
    shop: Environment, haproxy_command: str
) -> None:
    first, second, slot = shop.new_version(), shop.new_version(), shop.live()
    old = shop.slot("app3", slot)["version"]
    with behind_haproxy(haproxy_command, shop) as haproxy, shop.witness("excluded") as witness:
        witness.wait_until_flowing()
        excluding: dict[str, Any] = {**haproxy.settings, "release_excluded_hosts": {"app3": WHY}}
        shop.sever("app3")
        (shop.severed / "app3").touch()
        lost = shop.release(first, **haproxy.settings)
        assert "name an app host that is known to be dead in release_excluded_hosts" in words(lost.output)

        played = shop.release(first, **excluding)
        assert played.code == 0, played.output
        assert f"left out app3 (excluded: {WHY}); put into maintenance at lb1 first" in words(played.output)
        assert [one for one in played.tasks if one["host"] == "app3" and one["remote"]] == []
        held = {"blue": {"app3": WHY}, "green": {"app3": WHY}}
        assert haproxy.observe()["excluded"] == held

        # It is there again, with its old version in the slot that is live next, and the balancer forgets nothing.
        shop.mend()
        played = shop.release(second, **excluding)
        assert played.code == 0, played.output
        haproxy.reload()
        seen = haproxy.observe()
        assert (seen["live"], seen["excluded"]) == (slot, held)
        assert shop.slot("app3", slot)["version"] == old != second
        haproxy.eventually(lambda: len(haproxy.observe()["pools"][slot]["up"]) == 2)
        instances = {shop.served()["instance"] for _again in range(12)}
        assert instances == {"app1", "app2"}

        back = shop.release(second, **haproxy.settings)
        assert back.code == 0, back.output
        assert f"rejoin: {second} is live in {slot} and proven" in words(back.output)
        assert set(back.ran("Start the version")) == {"app3"}
        assert shop.slot("app3", slot)["version"] == second
        assert haproxy.observe()["excluded"] == {slot: {}, other(slot): {"app3": WHY}}
        assert {shop.served()["instance"] for _again in range(12)} == {"app1", "app2", "app3"}
        ledger = witness.stop()
    verdict = judge(ledger)
    assert verdict.ok, verdict.reasons
    assert shop.release(shop.new_version()).code == 0
