"""The fence: what an older lease asks for is refused once a newer one was seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.fence import fenced


def test_an_older_lease_is_refused_and_its_change_does_not_happen(tmp_path: Path) -> None:
    happened = []
    with fenced(tmp_path, 5, check_mode=False):
        happened.append(5)
    with pytest.raises(BatonError, match="has seen lease 5"), fenced(tmp_path, 4, check_mode=False):
        happened.append(4)
    with fenced(tmp_path, 5, check_mode=False):
        happened.append(5)
    assert happened == [5, 5]


def test_a_failing_change_still_raises_the_fence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="half"), fenced(tmp_path, 9, check_mode=False):
        raise ValueError("half done")
    with pytest.raises(BatonError, match="has seen lease 9"), fenced(tmp_path, 8, check_mode=False):
        pass


def test_without_a_token_nothing_is_compared(tmp_path: Path) -> None:
    with fenced(tmp_path, 5, check_mode=False):
        pass
    with fenced(tmp_path, None, check_mode=False):
        pass


def test_check_mode_refuses_too_but_writes_nothing(tmp_path: Path) -> None:
    with fenced(tmp_path / "new", 1, check_mode=True):
        pass
    assert not (tmp_path / "new").exists()
    with fenced(tmp_path, 5, check_mode=False):
        pass
    with pytest.raises(BatonError, match="has seen lease 5"), fenced(tmp_path, 4, check_mode=True):
        pass
