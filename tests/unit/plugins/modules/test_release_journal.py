"""release_journal: whoever was taken over writes no history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils import journal
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.part_release_journal import ARGUMENT_SPEC, run


def write(directory: Path, token: int, event: str = "started", *, check_mode: bool = False) -> dict[str, Any]:
    params = {name: option.get("default") for name, option in ARGUMENT_SPEC.items()}
    params |= {"state_dir": str(directory), "state": "present", "token": token, "event": event}
    return run({**params, "record": {"action": "release", "version": f"v{token}"}}, check_mode=check_mode)


@pytest.mark.parametrize("check_mode", [False, True])
def test_an_older_lease_writes_nothing(tmp_path: Path, check_mode: bool) -> None:
    assert write(tmp_path, 2)["changed"]
    with pytest.raises(BatonError, match="has seen lease 2"):
        write(tmp_path, 1, "finished", check_mode=check_mode)
    assert [(one["token"], one["event"]) for one in journal.read(tmp_path)] == [(2, "started")]
