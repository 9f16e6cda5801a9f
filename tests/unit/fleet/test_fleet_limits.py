# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The kernel's limit is raised when a fleet needs more, never lowered, and said where it cannot be changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

from tests.fleet import limits


@pytest.fixture
def limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the place of the kernel's."""
    path = tmp_path / "max_user_instances"
    path.write_text("128\n")
    monkeypatch.setattr(limits, "INSTANCES", path)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return path


def test_few_hosts_change_nothing(limit: Path) -> None:
    said: list[str] = []
    limits.allow(8, said.append)
    assert (limit.read_text(), said) == ("128\n", [])


def test_many_hosts_get_what_they_take(limit: Path) -> None:
    said: list[str] = []
    limits.allow(45, said.append)
    assert int(limit.read_text()) >= 6 * 45
    assert "from 128 to" in said[0]


@pytest.mark.usefixtures("limit")
def test_who_may_not_change_it_is_told_how_much_it_has_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    # A number of the kernel's own that nobody can change.
    monkeypatch.setattr(limits, "INSTANCES", Path("/proc/sys/kernel/ngroups_max"))
    with pytest.raises(BatonError, match=r"is 65536\. Expected: at least 80064"):
        limits.allow(10_000, print)
