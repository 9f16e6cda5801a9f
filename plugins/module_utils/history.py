# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What the journal says of the schema: which migrations came and went since a version was proven."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field

__all__ = ["Since", "schema_since", "traffic_runs"]

Runs = typing.Sequence[typing.Mapping[str, typing.Any]]


@dataclass
class Since:
    """What a version may not be able to live with."""

    contract: dict[str, str] = field(default_factory=dict)
    """Migrations that are there, and were not when it was last proven, which it does not survive; each with the version that applied it."""
    gone: list[str] = field(default_factory=list)
    """Migrations that were there when it was first proven, and no longer are."""


def traffic_runs(journal: typing.Mapping[str, typing.Any]) -> list[typing.Mapping[str, typing.Any]]:
    """Return the runs that were to move traffic, newest first: one that only migrates is no step on the way of a version."""
    return [run for run in journal.get("runs", ()) if run.get("action") != "migrate"]


def schema_since(journal: typing.Mapping[str, typing.Any], version: str) -> Since:
    """Return what became of the schema since ``version`` was proven; since ever when it never was.

    A run that was cut off has told nothing of what it applied.
    """
    runs: Runs = journal.get("runs", ())
    proofs = [number for number, run in enumerate(runs) if _proves(run, version)] or [len(runs)]
    last, first = _net(runs[: proofs[0]]), _net(runs[: proofs[-1]])
    contract = {
        one: str(run.get("version"))
        for run in runs[: proofs[0]]
        for one in run.get("contract") or ()
        # What came from the version's own tree it survives.
        if one in last[0] and run.get("version") != version
    }
    return Since(contract, first[1])


def _proves(run: typing.Mapping[str, typing.Any], version: str) -> bool:
    return run.get("action") != "migrate" and run.get("version") == version and run.get("outcome") == "verified"


def _net(runs: Runs) -> tuple[list[str], list[str]]:
    """Return the migrations that came, and those that went, with these runs as a whole."""
    came: list[str] = []
    went: list[str] = []
    for run in reversed(runs):
        for one in dict.fromkeys([*(run.get("applied") or ()), *(run.get("contract") or ())]):
            _move(one, out_of=went, into=came)
        for one in run.get("undone") or ():
            _move(one, out_of=came, into=went)
    return came, went


def _move(one: str, *, out_of: list[str], into: list[str]) -> None:
    if one in out_of:
        out_of.remove(one)
    else:
        into.append(one)
