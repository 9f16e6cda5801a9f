# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What the rows of Flyway's info mean, for each state that Flyway documents."""

from __future__ import annotations

import typing

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migrate_flyway import Info, read_info

if typing.TYPE_CHECKING:
    from pathlib import Path


def row(version: str, state: str, **more: str) -> dict[str, str]:
    return {
        "category": "Versioned",
        "version": version,
        "description": f"step {version}",
        "state": state,
        "undoable": "No",
        **more,
    }


def repeated(description: str, state: str) -> dict[str, str]:
    return {"category": "Repeatable", "version": "", "description": description, "state": state, "undoable": ""}


def names(info: Info) -> list[str]:
    return [one.revision for one in info.revisions]


def test_versions_are_in_order_and_repeatable_ones_after_them(tmp_path: Path) -> None:
    rows = [
        row("10", "Pending"),
        row("2", "Success"),
        row("1.0", "Success"),
        repeated("all views", "Pending"),
        row("1.1", "Pending"),
    ]
    info = read_info(rows, tmp_path)
    assert names(info) == ["1.0", "1.1", "2", "10", "R__all_views"]
    assert [one.parents for one in info.revisions][-1] == ("10",)
    assert info.done == ("2", "1.0")


def test_each_state_that_is_documented(tmp_path: Path) -> None:
    rows = [
        row("1", "Below Baseline"),
        {"category": "", "version": "2", "description": "<< Flyway Baseline >>", "state": "Baseline"},
        row("3", "Success"),
        row("4", "Undone"),
        {**row("4", "Success"), "category": "Undo"},
        row("5", "Missing"),
        row("3.5", "Out of Order"),
        repeated("views", "Superseded"),
        repeated("views", "Outdated"),
        repeated("roles", "Success"),
        row("7", "Future"),
        row("6", "Failed"),
        row("8", "Failed (Future)"),
        row("2.5", "Ignored"),
        row("9", "Deleted"),
        row("4", "Pending"),
        row("9.5", "Above Target"),
        repeated("views", "Pending"),
        row("1.5", "Ignored", shouldExecuteExpression="false"),
    ]
    info = read_info(rows, tmp_path)
    assert info.done == ("1", "3", "5", "3.5", "R__roles", "7")
    assert names(info) == ["1", "2.5", "3", "3.5", "4", "6", "9.5", "R__roles", "R__views"]
    assert (info.late, info.failed) == (("2.5",), ("6", "8"))


def test_an_unknown_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BatonError, match="in the state 'Postponed'"):
        read_info([row("1", "Postponed")], tmp_path)


@pytest.mark.parametrize(
    ("up", "back", "undoable", "expected"),
    [
        ("-- phase: contract\nDROP TABLE x;", "CREATE TABLE x ();", "Yes", ("contract", "yes")),
        ("SELECT 1", "-- nothing\n;\n", "Yes", ("unmarked", "empty")),
        ("SELECT 1", "DROP TABLE x", "No", ("unmarked", "refuses")),
        ("SELECT 1", None, "Yes", ("unmarked", "yes")),
    ],
)
def test_files_say_phase_and_way_down(
    tmp_path: Path, up: str, back: str | None, undoable: str, expected: tuple[str, str]
) -> None:
    (tmp_path / "V1__x.sql").write_text(up, encoding="utf-8")
    files = {"filepath": "V1__x.sql"}
    if back is not None:
        (tmp_path / "U1__x.sql").write_text(back, encoding="utf-8")
        files["undoFilepath"] = str(tmp_path / "U1__x.sql")
    (one,) = read_info([row("1", "Success", undoable=undoable, **files)], tmp_path).revisions
    assert ((one.phase, one.down), one.description) == (expected, "step 1")
