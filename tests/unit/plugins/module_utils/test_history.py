# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What became of the schema since a version was proven, by the journal and by the hosts that have changed it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.answers import observed_from
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.history import schema_since, with_changes
from ansible_collections.baton.release.plugins.module_utils.observed import Observed
from ansible_collections.baton.release.plugins.module_utils.plan_release import plan_release

from tests.unit.plugins.module_utils.test_plan import LOST, SHA, balancer, host, journal, ran, slot, world


def run(token: int, version: str, outcome: str = "verified", **told: Any) -> dict[str, Any]:
    return {**ran(version, outcome), "token": token, "contract": [], **told}


def change(token: int | None, *, known: bool = True, **steps: list[str]) -> dict[str, Any]:
    return {"token": token, "known": known, "applied": [], "contract": [], "undone": [], **steps}


HISTORY = journal(run(2, "v2", "unfinished"), run(1, "v1"))
UP: dict[str, Any] = {"applied": ["0002"]}
CONTRACT: dict[str, Any] = {**UP, "contract": ["0002"]}
DOWN: dict[str, Any] = {"undone": ["0002"]}


@pytest.mark.parametrize(
    ("changes", "contract", "gone"),
    [
        pytest.param([], [], [], id="nothing"),
        pytest.param([change(2, **UP)], [], [], id="what it survives"),
        pytest.param([change(2, **CONTRACT)], ["0002"], [], id="what it does not survive"),
        pytest.param([change(2, **CONTRACT, known=False)], ["0002"], [], id="what it may not survive"),
        pytest.param([change(2, **CONTRACT), change(2, **DOWN)], [], [], id="there and back"),
        pytest.param([change(2, **CONTRACT), change(2, **DOWN, known=False)], ["0002"], [], id="perhaps back"),
        pytest.param([change(2, **DOWN)], [], ["0002"], id="gone"),
        pytest.param([change(2, **DOWN, known=False)], [], ["0002"], id="perhaps gone"),
        pytest.param([change(2, **DOWN), change(3, **CONTRACT)], [], [], id="gone, and there again"),
        pytest.param([change(2, **DOWN), change(3, **UP, known=False)], [], ["0002"], id="perhaps there again"),
        pytest.param([change(1, **CONTRACT)], [], [], id="what it was proven with"),
        pytest.param([change(None, **CONTRACT)], [], [], id="what no run did"),
        pytest.param(
            [change(2, **CONTRACT), change(3, **CONTRACT), change(4, **DOWN)], [], [], id="twice there by what was told"
        ),
    ],
)
def test_what_a_version_cannot_live_with(changes: list[dict[str, Any]], contract: list[str], gone: list[str]) -> None:
    since = schema_since(with_changes(HISTORY, changes), "v1")
    assert (list(since.contract), since.gone) == (contract, gone)


def test_what_a_host_has_noted_counts_more_than_what_the_journal_was_told() -> None:
    """A run that found all done already tells nothing of it, and one that failed does not know what it has done."""
    told = journal(run(3, "v2"), run(2, "v2", "abandoned"), run(1, "v1"))
    assert list(schema_since(with_changes(told, [change(2, **CONTRACT)]), "v1").contract) == ["0002"]
    only_told = journal(run(2, "v2", **CONTRACT), run(1, "v1"))
    assert list(schema_since(only_told, "v1").contract) == ["0002"]
    assert schema_since(with_changes(only_told, [change(2)]), "v1").contract == {}


def test_a_journal_that_is_lost_stays_lost() -> None:
    assert with_changes(LOST, [change(2, **UP)]) == LOST


def test_a_release_back_to_what_does_not_survive_the_schema_is_refused() -> None:
    """Of a run that was killed before it could tell, and with the version still hot."""
    app = {**host(slot("v1"), slot("v2")), "schema_changes": [change(2, **CONTRACT)]}
    observed = observed_from({"lb1": balancer("green")}, {"app1": app, "app2": host(slot("v1"), slot("v2"))}, HISTORY)
    with pytest.raises(BatonError, match="v2 applied 0002, a schema change that v1 does not survive"):
        plan_release(observed, version="v1", sha256=SHA)
    assert plan_release(observed, version="v3", sha256=SHA).mode == "forward"


def test_what_has_lost_its_schema_in_a_run_that_was_killed_is_not_hot() -> None:
    runs = (run(3, "v1", "unfinished"), run(2, "v2"), run(1, "v1"))
    whole = world("blue", slot("v1"), slot("v2"), *runs)
    assert plan_release(whole, version="v2", sha256=SHA).mode == "hot"
    without = Observed(whole.balancers, whole.hosts, with_changes(whole.journal, [change(3, **DOWN)]))
    assert plan_release(without, version="v2", sha256=SHA).mode == "forward"
