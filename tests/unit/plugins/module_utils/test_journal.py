"""The journal: appended to, never rewritten, and readable after a power cut."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils import journal
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError


def started(token: int, version: str) -> dict[str, object]:
    return {"token": token, "event": "started", "version": version, "action": "release"}


def finished(token: int, outcome: str) -> dict[str, object]:
    return {"token": token, "event": "finished", "outcome": outcome}


def test_events_of_one_run_are_told_together_newest_first(tmp_path: Path) -> None:
    for event in (started(1, "v1"), finished(1, "verified"), started(2, "v2")):
        assert journal.append(tmp_path, event)
    runs = journal.fold(journal.read(tmp_path))
    assert [(run["token"], run["version"], run["outcome"]) for run in runs] == [
        (2, "v2", "unfinished"),
        (1, "v1", "verified"),
    ]
    assert runs[1]["started_at"] <= runs[1]["finished_at"]


def test_an_event_is_written_once(tmp_path: Path) -> None:
    assert journal.append(tmp_path, started(1, "v1"))
    assert not journal.append(tmp_path, started(1, "v1"))
    assert len(journal.read(tmp_path)) == 1


def test_a_line_torn_by_a_power_cut_costs_itself_only(tmp_path: Path) -> None:
    journal.append(tmp_path, started(1, "v1"))
    journal.append(tmp_path, finished(1, "verified"))
    path = tmp_path / journal.FILE
    path.write_text(path.read_text()[:-20])
    assert journal.fold(journal.read(tmp_path))[0]["outcome"] == "unfinished"
    journal.append(tmp_path, started(2, "v2"))
    assert [event["token"] for event in journal.read(tmp_path)] == [1, 2]


def test_more_damage_than_a_power_cut_does_is_said(tmp_path: Path) -> None:
    path = tmp_path / journal.FILE
    path.write_text('{"broken\n[]\n{"token": 1, "event": "started"}\n')
    with pytest.raises(BatonError, match="lines 1, 2"):
        journal.read(tmp_path)


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    assert journal.append(tmp_path / "state", started(1, "v1"), check_mode=True)
    assert not (tmp_path / "state").exists()


def test_no_journal_is_an_empty_one(tmp_path: Path) -> None:
    assert journal.read(tmp_path) == []
