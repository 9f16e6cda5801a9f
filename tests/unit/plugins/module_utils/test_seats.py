"""Seats: while live is mixed, each host's own slot decides."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils import seats
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.lookup_files import SEATS_SEEN_SECONDS
from ansible_collections.baton.release.plugins.module_utils.switch import Wanted, observe

from tests.unit.plugins.module_utils.balancers_of_files import BalancerOfFiles

HOSTS = ("app1", "app2", "app3")
BLUE = {host: f"{host}:1" for host in HOSTS}
GREEN = {host: f"{host}:2" for host in HOSTS}


class Fleet(BalancerOfFiles):
    """A balancer with seats; ``up`` names the servers that it holds to be up, ``busy`` the answers of in_flight."""

    def __init__(self, *up: str, busy: list[dict[str, int] | None] | None = None) -> None:
        super().__init__()
        self.up = set(up)
        self.busy = busy or [{}]
        self.hosts: list[str] = list(HOSTS)

    def pools(self) -> dict[str, Any] | None:
        return {
            slot: {
                "servers": list(servers.values()),
                "hosts": self.hosts,
                "up": [one for one in servers.values() if one in self.up],
                "in_flight": {},
            }
            for slot, servers in (("blue", BLUE), ("green", GREEN))
        }

    def in_flight(self) -> dict[str, int] | None:
        return self.busy.pop(0) if len(self.busy) > 1 else self.busy[0]


ALL_UP = Fleet(*BLUE.values(), *GREEN.values())


def move(directory: Path, fleet: Fleet = ALL_UP, *, token: int | None = None, **wanted: Any) -> dict[str, Any]:
    return fleet.switch(directory, Wanted(**{"slot": "mixed", "wait": 0, **wanted}), token=token)


def held(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (directory / "seats").iterdir()}


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A state directory in which blue is live."""
    move(tmp_path, slot="blue")
    return tmp_path


def test_the_other_hosts_keep_what_they_have(live: Path) -> None:
    result = move(live, seats={"app2": "green"}, expected="blue", min_up=3)
    assert (result["changed"], result["live"]) == (True, "mixed")
    assert result["seats"] == {"app1": "blue", "app2": "green", "app3": "blue"}
    assert held(live) == {**BLUE, "app2": GREEN["app2"]}
    assert (live / "live").read_text() == "mixed"
    assert observe(ALL_UP.at(live), live)["seats"] == result["seats"]


def test_what_is_so_already_is_no_change(live: Path) -> None:
    move(live, seats={"app2": "green"})
    assert move(live, seats={"app2": "green"})["changed"] is False


def test_the_share_of_a_host_that_is_out_goes_to_the_others(live: Path) -> None:
    result = move(live, seats={"app1": "out", "app2": "green"})
    assert result["seats"] == {"app1": "out", "app2": "green", "app3": "blue"}
    assert held(live) == {"app1": GREEN["app2"], "app2": GREEN["app2"], "app3": BLUE["app3"]}
    assert observe(ALL_UP.at(live), live)["seats"]["app1"] == "out"


def test_a_host_that_is_out_never_leads_to_a_server_that_no_longer_serves(live: Path) -> None:
    move(live, seats={"app1": "out"})
    assert held(live)["app1"] == BLUE["app2"]
    move(live, seats={"app2": "green"})
    assert held(live)["app1"] == GREEN["app2"]


def test_a_server_that_is_not_up_gets_no_seat(live: Path) -> None:
    fleet = Fleet(*BLUE.values(), GREEN["app1"])
    with pytest.raises(BatonError, match="among them app2:2"):
        move(live, fleet, seats={"app2": "green"}, min_up=2)
    assert move(live, fleet, seats={"app1": "green"}, min_up=3)["changed"]


def test_the_floor_is_kept(live: Path) -> None:
    with pytest.raises(BatonError, match="at least 3 servers up"):
        move(live, seats={"app1": "out"}, min_up=3)
    assert (live / "live").read_text() == "blue"
    assert move(live, seats={"app1": "out"}, min_up=2)["changed"]
    with pytest.raises(BatonError, match="at least 2 servers up"):
        move(live, seats={"app2": "out"}, min_up=2)


def test_not_all_hosts_can_be_out(live: Path) -> None:
    with pytest.raises(BatonError, match="every app host would be out"):
        move(live, seats=dict.fromkeys(HOSTS, "out"), min_up=0)


@pytest.mark.parametrize("hosts", [[], ["app1", "app2"]])
def test_a_host_without_a_seat_is_refused(live: Path, hosts: list[str]) -> None:
    fleet = Fleet(*BLUE.values(), *GREEN.values())
    fleet.hosts = hosts
    with pytest.raises(BatonError, match="none for app3"):
        move(live, fleet, seats={"app3": "green"})


def test_nothing_can_be_mixed_before_the_first_release(tmp_path: Path) -> None:
    with pytest.raises(BatonError, match="no seats"):
        move(tmp_path, seats={"app1": "green"})


def test_from_mixed_to_a_whole_slot_and_what_was_before(live: Path) -> None:
    move(live, seats=dict.fromkeys(HOSTS, "green"), token=5)
    result = move(live, slot="green", expected="mixed", token=5)
    assert (result["live"], result["previous"]) == ("green", "blue")
    assert observe(ALL_UP.at(live), live)["seats"] == dict.fromkeys(HOSTS, "green")


def test_mixed_is_compared_too(live: Path) -> None:
    move(live, slot="green")
    with pytest.raises(BatonError, match="green is live"):
        move(live, seats={"app1": "green"}, expected="blue")


def test_an_older_lease_changes_no_seat(live: Path) -> None:
    move(live, seats={"app1": "green"}, token=4)
    with pytest.raises(BatonError, match="has seen lease 4"):
        move(live, seats={"app2": "green"}, token=3)
    assert held(live)["app2"] == BLUE["app2"]


def test_requests_that_are_left_are_waited_for(live: Path) -> None:
    fleet = Fleet(*BLUE.values(), *GREEN.values(), busy=[{BLUE["app1"]: 2}, None, {BLUE["app1"]: 1}, {BLUE["app2"]: 7}])
    result = move(live, fleet, seats={"app1": "out"}, drain=10)
    assert result["draining"] == {}
    assert len(fleet.busy) == 1


@pytest.mark.parametrize(("count", "said"), [({BLUE["app1"]: 2}, 2), (None, None)])
def test_requests_that_do_not_end_are_said(live: Path, count: dict[str, int] | None, said: int | None) -> None:
    fleet = Fleet(*BLUE.values(), *GREEN.values(), busy=[count])
    assert move(live, fleet, seats={"app1": "out"}, drain=0)["draining"] == {BLUE["app1"]: said}


def test_check_mode_moves_nothing(live: Path) -> None:
    wanted = Wanted("mixed", seats={"app1": "green"}, wait=0)
    result = ALL_UP.switch(live, wanted, check_mode=True)
    assert (result["changed"], result["seats"]["app1"]) == (True, "green")
    assert (live / "live").read_text() == "blue"
    assert held(live) == BLUE


def test_a_seat_that_exists_is_left_alone(tmp_path: Path) -> None:
    assert seats.prepare_seats(tmp_path, BLUE, check_mode=True)
    assert not (tmp_path / "seats").exists()
    assert seats.prepare_seats(tmp_path, BLUE, check_mode=False)
    move(tmp_path, slot="blue")
    move(tmp_path, seats={"app1": "green"})
    assert not seats.prepare_seats(tmp_path, BLUE, check_mode=False)
    assert held(tmp_path)["app1"] == GREEN["app1"]


def test_seats_follow_the_slot_that_is_live(live: Path) -> None:
    """Else the balancer would find what they lead to stopped, and hold all of them to be down when they begin to count."""
    move(live, slot="green")
    assert held(live) == GREEN


def test_seats_that_lead_elsewhere_are_seen_before_they_count(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seats.write_seats(live, GREEN)  # as a run leaves them that was killed at the switch
    waited = []

    def sleep(seconds: float) -> None:
        waited.append((seconds, held(live), (live / "live").read_text()))

    monkeypatch.setattr(time, "sleep", sleep)
    move(live, seats={"app1": "green"})
    assert waited == [(SEATS_SEEN_SECONDS, BLUE, "blue")]
    assert held(live) == {**BLUE, "app1": GREEN["app1"]}


def test_a_seat_that_holds_something_else_counts_as_out(live: Path) -> None:
    move(live, seats={"app1": "green"})
    (live / "seats" / "app2").write_text("elsewhere:9")
    (live / "seats" / "app3").unlink()
    assert observe(ALL_UP.at(live), live)["seats"] == {"app1": "green", "app2": "out", "app3": "out"}


def test_a_pool_that_lacks_a_server_leaves_no_seats(live: Path) -> None:
    """Somebody has taken one out by hand: which host the others belong to is not known any more."""

    class Short(Fleet):
        def pools(self) -> dict[str, Any] | None:
            pools = super().pools()
            assert pools is not None
            pools["green"]["servers"].pop()
            return pools

    short = Short(*BLUE.values(), *GREEN.values())
    assert observe(short, live)["seats"] == {}
    with pytest.raises(BatonError, match="no seats"):
        move(live, short, seats={"app1": "green"})
