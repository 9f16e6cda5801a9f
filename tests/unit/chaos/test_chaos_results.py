"""The file of results: it is gone on with where it was left, and never mixed up with another run unasked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chaos.oracle import Outcome
from tests.chaos.recording import Occurrence
from tests.chaos.report import render
from tests.chaos.results import Results, ResultsError
from tests.chaos.strike import every

TASK = Occurrence("Switch", 1, "lb_switch", ("lb1",), 1.0)
FIRST, SECOND, *_MORE = every("release", [TASK], seed=1)


def header(commit: str, seed: int = 1) -> dict[str, Any]:
    return {"commit": commit, "seed": seed}


def begun(path: Path) -> None:
    results = Results.load(path, header("aaa"))
    results.record("release", [TASK])
    results.add(Outcome.of(FIRST, runs_to_converge=1))


def test_the_same_run_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "results"
    begun(path)
    again = Results.load(path, header("aaa"))
    assert (again.done(), again.recordings) == ({FIRST.name}, {"release": [TASK]})


@pytest.mark.parametrize("wanted", [header("bbb"), header("aaa", seed=2)], ids=["commit", "seed"])
def test_those_of_another_run_are_refused(tmp_path: Path, wanted: dict[str, Any]) -> None:
    begun(tmp_path / "results")
    with pytest.raises(ResultsError, match="holds results of"):
        Results.load(tmp_path / "results", wanted)


def test_those_of_another_commit_are_gone_on_with_where_that_is_asked_for_and_told(tmp_path: Path) -> None:
    begun(tmp_path / "results")
    with pytest.raises(ResultsError, match="holds results of"):
        Results.load(tmp_path / "results", header("bbb", seed=2), any_commit=True)
    results = Results.load(tmp_path / "results", header("bbb"), any_commit=True)
    results.add(Outcome.of(SECOND, runs_to_converge=2, problems=["it took 2 runs"]))
    told = render(Results.load(tmp_path / "results"), command="chaos")
    for line in (
        "strikes at commit aaa | 1",
        "strikes at commit bbb | 1",
        "**runs to converge** | 1 to 2",
        "- it took 2 runs",
    ):
        assert line in told
    with pytest.raises(ResultsError, match="no results in"):
        Results.load(tmp_path / "nothing")
