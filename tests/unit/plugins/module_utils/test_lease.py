"""The lease: one holder, tokens that only grow, and an end to every holder that is not heard of."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils import lease
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import locked, write_json


def take(directory: Path, owner: str = "ann", *, now: float = 1000.0, ttl: float = 60.0, **more: Any) -> lease.Lease:
    return lease.acquire(directory, owner=owner, reason="a test", ttl=ttl, now=now, **more)


def test_tokens_only_grow(tmp_path: Path) -> None:
    tokens = []
    for _ in range(3):
        tokens.append(take(tmp_path).token)
        lease.release(tmp_path, token=tokens[-1])
    assert tokens == [1, 2, 3]


def test_a_held_lease_is_refused_with_who_since_when_and_why(tmp_path: Path) -> None:
    take(tmp_path, "ann", now=1000.0)
    with pytest.raises(lease.LeaseHeldError) as refusal:
        take(tmp_path, "bob", now=1010.0)
    message = str(refusal.value)
    assert all(word in message for word in ("ann", "1970-01-01 00:16:40", "a test", "10 s ago", "50 s left"))
    assert refusal.value.details["lease"]["owner"] == "ann"


def test_a_lease_that_ran_out_can_be_taken(tmp_path: Path) -> None:
    take(tmp_path, "ann", now=1000.0, ttl=60)
    assert take(tmp_path, "bob", now=1060.0).token == 2


def test_a_renewal_extends_it(tmp_path: Path) -> None:
    token = take(tmp_path, now=1000.0, ttl=60).token
    lease.renew(tmp_path, token=token, ttl=60, now=1050.0)
    with pytest.raises(lease.LeaseHeldError):
        take(tmp_path, "bob", now=1100.0)


def test_whoever_was_taken_over_can_neither_renew_nor_release(tmp_path: Path) -> None:
    old = take(tmp_path, "ann", now=1000.0, ttl=60).token
    new = take(tmp_path, "bob", now=1100.0).token
    with pytest.raises(BatonError, match="bob"):
        lease.renew(tmp_path, token=old, ttl=60, now=1101.0)
    with pytest.raises(BatonError, match="bob"):
        lease.release(tmp_path, token=old)
    assert lease.gather(tmp_path, now=1102.0)["token"] == new


def test_a_lease_that_was_given_back_cannot_be_renewed(tmp_path: Path) -> None:
    token = take(tmp_path, now=1000.0).token
    lease.release(tmp_path, token=token)
    with pytest.raises(BatonError, match="nobody holds it"):
        lease.renew(tmp_path, token=token, ttl=60, now=1001.0)
    assert not lease.gather(tmp_path, now=1002.0)["held"]


@pytest.mark.parametrize("change", ["renew", "release"])
def test_whoever_is_being_taken_over_waits_and_is_then_refused(tmp_path: Path, change: str) -> None:
    """Read before the take-over and written after it, the old lease would be back."""
    old = take(tmp_path, "ann").token
    refused: list[BatonError] = []

    def ask() -> None:
        try:
            if change == "renew":
                lease.renew(tmp_path, token=old, ttl=60)
            else:
                lease.release(tmp_path, token=old)
        except BatonError as error:
            refused.append(error)

    late = threading.Thread(target=ask)
    with locked(tmp_path / "lease.lock"):
        late.start()
        late.join(0.3)
        write_json(tmp_path / "lease.json", {**lease.gather(tmp_path), "token": old + 1, "owner": "bob"})
    late.join()
    assert len(refused) == 1
    assert lease.gather(tmp_path)["owner"] == "bob"


def test_releasing_twice_changes_nothing_more(tmp_path: Path) -> None:
    token = take(tmp_path).token
    assert lease.release(tmp_path, token=token) is True
    assert lease.release(tmp_path, token=token) is False


def test_a_plan_that_is_out_of_date_gets_no_lease(tmp_path: Path) -> None:
    lease.release(tmp_path, token=take(tmp_path, "bob").token)
    with pytest.raises(BatonError, match="since this plan was made"):
        take(tmp_path, "ann", expected_token=0)
    assert take(tmp_path, "ann", expected_token=1).token == 2


def test_only_the_named_dead_holder_is_taken_over(tmp_path: Path) -> None:
    take(tmp_path, "ann", now=1000.0)
    with pytest.raises(lease.LeaseHeldError):
        take(tmp_path, "bob", now=1001.0, takeover_token=7)
    assert take(tmp_path, "bob", now=1001.0, takeover_token=1, expected_token=1).token == 2


def test_a_state_host_without_memory_gives_a_token_newer_than_any_seen(tmp_path: Path) -> None:
    assert take(tmp_path, newest_seen=41).token == 42


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    assert lease.acquire(directory, owner="ann", reason="", ttl=9, check_mode=True).token == 1
    assert not directory.exists()


def test_a_damaged_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "lease.json").write_text("[1, 2")
    with pytest.raises(BatonError, match=r"lease\.json does not hold a JSON object"):
        take(tmp_path)


def test_of_twenty_that_ask_at_once_one_gets_it(tmp_path: Path) -> None:
    barrier, won, refused = threading.Barrier(20), [], []

    def ask(name: str) -> None:
        barrier.wait()
        try:
            won.append(lease.acquire(tmp_path, owner=name, reason="", ttl=60))
        except lease.LeaseHeldError as error:
            refused.append(error)

    threads = [threading.Thread(target=ask, args=(f"run{number}",)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(refused)) == (1, 19)
