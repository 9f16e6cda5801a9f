# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Where a schema is, what a way up or down consists of, and what is refused."""

from __future__ import annotations

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_plan import (
    Revision,
    Schema,
    in_line,
    refuse_contract,
    refuse_irreversible,
)

# a - b - c - d          (one line)
LINE = tuple(Revision(name, parents=tuple(parent)) for name, parent in (("a", ""), ("b", "a"), ("c", "b"), ("d", "c")))
# a - b - m, a - x - m   (two branches, merged); y depends on x from a line of its own
BRANCHES = (
    Revision("a"),
    Revision("b", parents=("a",)),
    Revision("x", parents=("a",)),
    Revision("m", parents=("b", "x")),
    Revision("y", parents=("x",)),
)


def names(revisions: list[Revision]) -> str:
    return "".join(one.revision for one in revisions)


@pytest.mark.parametrize(
    ("revisions", "heads", "current", "target", "pending"),
    [
        (LINE, "d", "", None, "abcd"),
        (LINE, "d", "b", None, "cd"),
        (LINE, "d", "b", "c", "c"),
        (LINE, "d", "d", None, ""),
        (LINE, "d", "d", "b", ""),
        (LINE, "d", "c", "head", "d"),
        (BRANCHES, "my", "b", "m", "xm"),
        (BRANCHES, "my", "bx", "m", "m"),
        (BRANCHES, "my", "", "y", "axy"),
        (BRANCHES, "my", "m", "heads", "y"),
        ((), "", "", None, ""),
    ],
)
def test_pending_is_what_the_target_needs_and_the_database_lacks(
    revisions: tuple[Revision, ...], heads: str, current: str, target: str | None, pending: str
) -> None:
    schema = Schema(tuple(current), tuple(heads), revisions)
    assert names(schema.pending(schema.targets_up(target))) == pending


@pytest.mark.parametrize(
    ("revisions", "current", "target", "undone"),
    [
        (LINE, "d", "b", "dc"),
        (LINE, "d", "base", "dcba"),
        (LINE, "b", "b", ""),
        (LINE, "b", "d", ""),
        (LINE, "", "base", ""),
        (BRANCHES, "m", "a", "mxb"),
        (BRANCHES, "my", "x", "ym"),
        (BRANCHES, "my", "b", "m"),
    ],
)
def test_going_down_undoes_what_builds_on_the_target(
    revisions: tuple[Revision, ...], current: str, target: str, undone: str
) -> None:
    schema = Schema(tuple(current), ("unused",), revisions)
    assert names(schema.above(schema.target_down(target))) == undone


def test_a_database_ahead_of_the_tree_has_nothing_pending_and_is_not_up_to_date() -> None:
    schema = Schema(("e",), ("d",), LINE)
    assert schema.ahead == ["e"]
    assert schema.pending() == []
    assert not schema.up_to_date


def test_a_tree_cannot_go_down_from_a_revision_it_does_not_know() -> None:
    with pytest.raises(BatonError, match="which this tree does not know") as refused:
        Schema(("e",), ("d",), LINE).target_down("a")
    assert refused.value.details["ahead"] == ["e"]


@pytest.mark.parametrize(
    ("done", "ahead", "pending"),
    [
        ("", "", "abcd"),
        ("ab", "", "cd"),
        ("acb", "", "d"),
        ("abcd", "", ""),
        ("abe", "e", "cd"),  # a newer tree was here: what is pending is known all the same
        ("xab", "", "cd"),  # merged into another one, or of an app that was removed
        ("xy", "xy", "abcd"),
    ],
)
def test_a_tool_that_keeps_what_was_applied_tells_what_is_newer_and_what_is_missing(
    done: str, ahead: str, pending: str
) -> None:
    schema = Schema(tuple(done[-1:]), ("d",), LINE, tuple(done))
    assert "".join(schema.ahead) == ahead
    assert names(schema.pending()) == pending
    assert schema.up_to_date == (not ahead and not pending)


@pytest.mark.parametrize(
    ("done", "target", "undone"),
    [
        ("abcd", "b", "dc"),
        ("abcd", "-1", "d"),
        ("abcd", "base", "dcba"),
        ("adbc", "d", "cb"),  # in the order in which they were applied
        ("xab", "a", "b"),
        ("xa", "-1", "a"),
        ("a", "-1", "a"),
        ("", "-1", ""),
        ("ab", "d", ""),
    ],
)
def test_such_a_tool_goes_down_by_what_was_applied_later(done: str, target: str, undone: str) -> None:
    schema = Schema(tuple(done[-1:]), ("d",), LINE, tuple(done))
    assert names(schema.above(schema.target_down(target))) == undone


@pytest.mark.parametrize(
    ("done", "target"), [("abe", "a"), ("aebc", "a"), ("abe", "-1"), ("eab", "base"), ("abe", "b")]
)
def test_nothing_is_undone_that_lies_under_what_only_a_newer_tree_knows(done: str, target: str) -> None:
    with pytest.raises(BatonError, match="e, which this tree does not know"):
        Schema(tuple(done[-1:]), ("d",), LINE, tuple(done)).target_down(target)


@pytest.mark.parametrize(("current", "target"), [("d", "c"), ("a", "base"), ("", "base")])
def test_one_back_is_what_the_last_one_builds_on(current: str, target: str) -> None:
    assert Schema(tuple(current), ("d",), LINE).target_down("-1") == target


@pytest.mark.parametrize("current", ["m", "bx"])
def test_one_back_is_refused_where_several_ways_lead_down(current: str) -> None:
    with pytest.raises(BatonError, match="several ways lead down"):
        Schema(tuple(current), ("m",), BRANCHES).target_down("-1")


def test_in_line_each_builds_on_the_one_before() -> None:
    assert [one.parents for one in in_line([Revision("a"), Revision("b"), Revision("c")])] == [(), ("a",), ("b",)]


def test_several_heads_are_refused_unless_they_are_meant() -> None:
    schema = Schema((), ("m", "y"), BRANCHES)
    with pytest.raises(BatonError, match="2 heads: m, y"):
        schema.targets_up(None)
    assert schema.targets_up("heads") == ("m", "y")


@pytest.mark.parametrize("state", ["up", "down"])
def test_an_unknown_revision_is_refused_with_the_known_ones(state: str) -> None:
    schema = Schema((), ("d",), LINE)
    with pytest.raises(BatonError, match=r"revision 'nosuch'.*the last ones: a, b, c, d"):
        schema.targets_up("nosuch") if state == "up" else schema.target_down("nosuch")


def test_contract_migrations_are_refused_and_the_part_before_them_is_offered() -> None:
    pending = [Revision("b", phase="expand"), Revision("c", phase="contract"), Revision("d")]
    with pytest.raises(BatonError, match=r"contract migrations: c; .*revision: b") as refused:
        refuse_contract(pending, allow=False)
    assert [one["revision"] for one in refused.value.details["pending"]] == ["b", "c", "d"]
    refuse_contract(pending, allow=True)
    refuse_contract([pending[0], pending[2]], allow=False)


@pytest.mark.parametrize("phase", ["contarct", "Contract", ""])
def test_a_phase_with_a_typing_error_is_never_taken_for_expand(phase: str) -> None:
    with pytest.raises(BatonError, match="with the phase"):
        refuse_contract([Revision("c", phase=phase)], allow=True)


def test_a_way_down_that_is_known_to_end_half_way_is_not_begun() -> None:
    with pytest.raises(BatonError, match="cannot be undone: c"):
        refuse_irreversible([Revision("d", down="empty"), Revision("c", down="refuses")])
    refuse_irreversible([Revision("d", down="empty"), Revision("c")])
