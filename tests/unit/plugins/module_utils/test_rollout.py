"""The sizes of batches, in the words of a Kubernetes Deployment."""

from __future__ import annotations

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.rollout import Rollout, count_of
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("surge", "unavailable", "hosts", "expected"),
    [
        pytest.param("1", "0", 3, (1, False, 3), id="one after the other, no capacity lost"),
        pytest.param("25%", "0", 10, (3, False, 10), id="a share of the surge is rounded up"),
        pytest.param("0", "25%", 10, (2, True, 8), id="a share that may be out is rounded down"),
        pytest.param("0", "1", 2, (1, True, 1), id="in place, of two"),
        pytest.param("1", "1", 3, (1, False, 2), id="a surge that tolerates one dead server"),
        pytest.param("100%", "0", 4, (4, False, 4), id="all at once"),
        pytest.param("7", "0", 3, (7, False, 3), id="more than there are"),
    ],
)
def test_size(surge: str, unavailable: str, hosts: int, expected: tuple[int, bool, int]) -> None:
    assert Rollout("rolling", surge, unavailable).size(hosts) == expected


@pytest.mark.parametrize(
    ("surge", "unavailable", "hosts", "found"),
    [
        pytest.param("0", "0", 3, "0 of 3", id="nothing could change"),
        pytest.param("0%", "20%", 3, "0 of 3", id="a share of less than one host"),
        pytest.param("0", "3", 3, "3 of 3", id="nothing would serve"),
        pytest.param("1", "100%", 3, "3 of 3", id="nothing need serve"),
        pytest.param("0", "1", 1, "1 of 1", id="in place, of one"),
        pytest.param("-1", "0", 3, "-1", id="negative"),
        pytest.param("1.5", "0", 3, "1.5", id="a fraction"),
        pytest.param("101%", "0", 3, "101%", id="more than all"),
        pytest.param("many", "0", 3, "many", id="a word"),
        pytest.param("", "0", 3, "''", id="empty"),
    ],
)
def test_sizes_that_are_refused(surge: str, unavailable: str, hosts: int, found: str) -> None:
    with pytest.raises(BatonError, match="To do") as refusal:
        Rollout("rolling", surge, unavailable).size(hosts)
    assert found in str(refusal.value)


@given(st.integers(1, 40), st.integers(0, 100), st.integers(0, 100))
def test_batches_hold_every_host_once_and_never_break_the_floor(hosts: int, surge: int, unavailable: int) -> None:
    names = [f"app{number}" for number in range(hosts)]
    rollout = Rollout("rolling", f"{surge}%", f"{unavailable}%")
    try:
        size, in_place, floor = rollout.size(hosts)
    except BatonError:
        return
    batches = rollout.batches(names, of=hosts)
    assert [host for batch in batches for host in batch] == names
    assert all(len(batch) <= size for batch in batches)
    assert floor >= 1
    assert not in_place or hosts - size >= floor


@given(st.text(max_size=8))
def test_a_count_is_a_number_or_refused(text: str) -> None:
    try:
        fine = count_of("release_max_surge", text, 10, round_up=True) >= 0
    except BatonError as error:
        fine = "release_max_surge" in str(error)
    assert fine
