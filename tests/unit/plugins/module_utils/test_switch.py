"""The switch: a compare-and-swap that two writers cannot both win."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.switch import Wanted, observe

from tests.unit.plugins.module_utils.balancers_of_files import BalancerOfFiles


class Pools(BalancerOfFiles):
    """A balancer whose pools are what the test says: one answer after the other, the last one for ever."""

    def __init__(self, *answers: dict[str, Any] | None) -> None:
        super().__init__()
        self.answers = list(answers)

    def pools(self) -> dict[str, Any] | None:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def in_flight(self) -> dict[str, int] | None:
        return {}


def pool(*up: str, servers: tuple[str, ...] = ("a:1", "b:1")) -> dict[str, Any]:
    return {
        slot: {"servers": list(servers), "hosts": [], "up": list(up), "in_flight": {}} for slot in ("blue", "green")
    }


BOTH_UP = Pools(pool("a:1", "b:1"))


def change(
    directory: Path, slot: str, expected: str | None = None, *, token: int | None = None, **more: Any
) -> dict[str, Any]:
    return BOTH_UP.switch(directory, Wanted(slot, expected, **more), token=token)


def test_the_first_switch_comes_from_nothing(tmp_path: Path) -> None:
    result = change(tmp_path, "blue", "none")
    assert (result["changed"], result["live"], result["previous"]) == (True, "blue", "none")
    assert (tmp_path / "live").read_text() == "blue"  # no newline: it is what the balancer compares with


def test_what_is_live_already_is_no_change(tmp_path: Path) -> None:
    change(tmp_path, "blue")
    assert change(tmp_path, "blue")["changed"] is False


def test_the_previous_slot_is_known(tmp_path: Path) -> None:
    change(tmp_path, "blue")
    assert change(tmp_path, "green", "blue")["previous"] == "blue"


@pytest.mark.parametrize("expected", ["blue", "none"])
def test_another_slot_than_expected_is_refused(tmp_path: Path, expected: str) -> None:
    change(tmp_path, "green")
    with pytest.raises(BatonError, match="green is live"):
        change(tmp_path, "blue" if expected == "none" else "green", expected)
    assert (tmp_path / "live").read_text() == "green"


def test_going_back_takes_whatever_is_live(tmp_path: Path) -> None:
    change(tmp_path, "green")
    assert change(tmp_path, "blue")["changed"] is True


def test_a_switch_that_was_cut_off_can_be_repeated_under_its_own_lease(tmp_path: Path) -> None:
    change(tmp_path, "green", "none", token=3)
    assert change(tmp_path, "green", "none", token=3)["changed"] is False


def test_an_older_lease_is_refused(tmp_path: Path) -> None:
    change(tmp_path, "green", token=4)
    with pytest.raises(BatonError, match="has seen lease 4"):
        change(tmp_path, "blue", token=3)


def _race(directory: Path, start: Any, results: Any) -> None:
    start.wait()
    try:
        results.put(change(directory, "green", "blue")["changed"])
    except BatonError:
        results.put("refused")


def test_of_eight_writers_that_expect_the_same_one_wins(tmp_path: Path) -> None:
    change(tmp_path, "blue")
    context = multiprocessing.get_context("fork")
    start, results = context.Event(), context.Queue()
    writers = [context.Process(target=_race, args=(tmp_path, start, results)) for _ in range(8)]
    for writer in writers:
        writer.start()
    start.set()
    outcomes = [results.get(timeout=20) for _ in writers]
    for writer in writers:
        writer.join()
    assert sorted(map(str, outcomes)) == ["True"] + ["refused"] * 7


def test_a_pool_that_is_not_up_gets_no_traffic(tmp_path: Path) -> None:
    balancer = Pools(pool("a:1"))
    with pytest.raises(BatonError, match="at least 2 servers up") as refusal:
        balancer.switch(tmp_path, Wanted("green", min_up=2, wait=0))
    assert "['a:1'] up" in str(refusal.value)
    assert not (tmp_path / "live").exists()


def test_a_pool_that_comes_up_in_time_is_waited_for(tmp_path: Path) -> None:
    balancer = Pools(None, pool("a:1"), pool("a:1", "b:1"))
    assert balancer.switch(tmp_path, Wanted("green", min_up=2, wait=5))["changed"]


def test_a_silent_balancer_gets_no_switch_unless_nothing_is_asked_of_it(tmp_path: Path) -> None:
    with pytest.raises(BatonError, match="does not answer"):
        Pools(None).switch(tmp_path, Wanted("green", wait=0))
    assert Pools(None).switch(tmp_path, Wanted("green", min_up=0))["answering"] is False


def test_check_mode_says_and_does_nothing(tmp_path: Path) -> None:
    result = BOTH_UP.switch(tmp_path / "new", Wanted("blue"), token=1, check_mode=True)
    assert (result["changed"], result["live"]) == (True, "blue")
    assert not (tmp_path / "new").exists()


def test_a_file_that_names_no_slot_is_said(tmp_path: Path) -> None:
    (tmp_path / "live").write_text("purple")
    with pytest.raises(BatonError, match="purple"):
        observe(BOTH_UP.at(tmp_path), tmp_path)


def test_a_record_that_disagrees_with_the_file_is_not_believed(tmp_path: Path) -> None:
    change(tmp_path, "blue")
    change(tmp_path, "green")
    (tmp_path / "live").write_text("blue")  # a switch that was cut off after its record was written
    assert observe(BOTH_UP.at(tmp_path), tmp_path)["previous"] == "none"


def test_a_share_leaves_the_slot_live_and_comes_back_to_nothing(tmp_path: Path) -> None:
    change(tmp_path, "blue")
    result = change(tmp_path, "green", "blue", share=25)
    assert (result["changed"], result["live"], result["share"]) == (True, "blue", 25)
    assert (tmp_path / "live").read_text() == "blue:green:25"
    assert observe(BOTH_UP.at(tmp_path), tmp_path)["share"] == 25
    assert "25 % of the clients" in result["diff"]["after"]
    assert change(tmp_path, "green", "blue", share=0)["changed"]
    assert (tmp_path / "live").read_text() == "blue"
    change(tmp_path, "green", "blue", share=50)
    assert change(tmp_path, "green", "blue")["live"] == "green"
    assert ((tmp_path / "live").read_text(), observe(BOTH_UP.at(tmp_path), tmp_path)["previous"]) == ("green", "blue")


def test_two_balancers_that_disagree_about_the_share_agree_after_either_way_out(tmp_path: Path) -> None:
    one, two = tmp_path / "lb1", tmp_path / "lb2"
    for wanted, slot in ((Wanted("blue"), "blue"), (Wanted("green"), "green")):
        for directory, share in ((one, 25), (two, 5)):
            change(directory, "blue")
            change(directory, "green", "blue", share=share)
        results = [BOTH_UP.switch(directory, wanted) for directory in (one, two)]
        assert [(result["live"], result["share"]) for result in results] == [(slot, 0)] * 2


def test_both_slots_must_be_up_for_a_share_and_one_of_them_for_none(tmp_path: Path) -> None:
    change(tmp_path, "blue")
    half = pool("a:1", "b:1")
    half["blue"]["servers"], half["green"]["servers"] = ["a:1", "b:1"], ["c:1", "d:1"]
    with pytest.raises(BatonError, match="that would serve in green"):
        Pools(half).switch(tmp_path, Wanted("green", share=5, min_up=2, wait=0))
    change(tmp_path, "green", share=5)
    with pytest.raises(BatonError, match="that would serve in green") as refusal:
        Pools(half).switch(tmp_path, Wanted("green", share=25, min_up=2, wait=0))
    assert (refusal.value.details["live"], refusal.value.details["share"]) == ("blue", 5)
    half["blue"], half["green"] = half["green"], half["blue"]
    with pytest.raises(BatonError, match="that would serve in blue"):
        Pools(half).switch(tmp_path, Wanted("green", share=25, min_up=2, wait=0))
    half["blue"], half["green"] = half["green"], half["blue"]
    assert Pools(half).switch(tmp_path, Wanted("green", share=0, min_up=2, wait=0))["share"] == 0


def test_what_is_not_up_is_called_by_its_host_where_the_balancer_knows_it(tmp_path: Path) -> None:
    change(tmp_path, "blue")
    one_down = pool("a:1")
    with pytest.raises(BatonError, match=r"that would serve in green, and not b:1\. Expected"):
        Pools(one_down).switch(tmp_path, Wanted("green", min_up=2, wait=0))
    for one in one_down.values():
        one["hosts"] = ["app1", "app2"]
    with pytest.raises(BatonError) as refusal:
        Pools(one_down).switch(tmp_path, Wanted("green", min_up=2, wait=0))
    assert "and not app2 at b:1. Expected" in str(refusal.value)


def test_a_share_of_what_is_live_already_or_beside_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BatonError, match="none is live"):
        change(tmp_path, "green", share=5)
    change(tmp_path, "green")
    with pytest.raises(BatonError, match="blue, so that 5 % of the clients can reach green"):
        change(tmp_path, "green", share=5)


def test_a_rolling_update_never_begins_beside_a_share(tmp_path: Path) -> None:
    change(tmp_path, "blue")
    change(tmp_path, "green", share=5)
    seated = pool("a:1", "b:1")
    for one in seated.values():
        one["hosts"] = ["app1", "app2"]
    with pytest.raises(BatonError, match="5 % of the clients reach green"):
        Pools(seated).switch(tmp_path, Wanted("mixed", "blue", seats={"app1": "green"}))
    assert (tmp_path / "live").read_text() == "blue:green:5"
