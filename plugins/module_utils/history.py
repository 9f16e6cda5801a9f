# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What the journal says of the schema: which migrations came and went since a version was proven."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field

__all__ = ["Since", "proven", "schema_since", "traffic_runs", "with_changes"]

Journal = typing.Mapping[str, typing.Any]
Runs = typing.Sequence[typing.Mapping[str, typing.Any]]
Changes = Runs


@dataclass
class Since:
    """What a version may not be able to live with."""

    contract: dict[str, str] = field(default_factory=dict)
    """Migrations that are there, and were not when it was last proven, which it does not survive; each with the version that applied it."""
    gone: list[str] = field(default_factory=list)
    """Migrations that were there when it was first proven, and no longer are."""


def with_changes(journal: Journal, changes: Changes) -> Journal:
    """Return ``journal`` with what the hosts that migrate have noted of each run: they know it also of one whose controller was killed.

    Args:
        journal: the journal as its host has it, or ``lost``.
        changes: ``schema_changes`` of each app host, as ``app_slot`` returns them. Those without a lease are of no run.
    """
    of_run: dict[int, list[typing.Mapping[str, typing.Any]]] = {}
    for change in changes:
        if change["token"]:
            of_run.setdefault(int(change["token"]), []).append(change)
    known = {int(run.get("token", 0)): run for run in journal.get("runs", ())}
    runs = {**{token: {"token": token, "action": "migrate", "outcome": "unfinished"} for token in of_run}, **known}
    if "lost" in journal or not of_run:
        return journal
    return {
        **journal,
        "runs": [
            {**runs[token], "changes": of_run[token]} if token in of_run else runs[token]
            for token in sorted(runs, reverse=True)
        ],
    }


def traffic_runs(journal: Journal) -> list[typing.Mapping[str, typing.Any]]:
    """Return the runs that were to move traffic, newest first: one that only migrates is no step on the way of a version."""
    return [run for run in journal.get("runs", ()) if run.get("action") != "migrate"]


def schema_since(journal: Journal, version: str) -> Since:
    """Return what became of the schema since ``version`` was proven; since ever when it never was.

    What a run may have done, because it was cut off, counts against the version in either way.
    """
    runs: Runs = journal.get("runs", ())
    proofs = [number for number, run in enumerate(runs) if _proves(run, version)] or [len(runs)]
    came, _went = _net(runs[: proofs[0]])
    _came, went = _net(runs[: proofs[-1]])
    contract = {
        one: str(run.get("version"))
        for run in runs[: proofs[0]]
        for change in _changes(run)
        for one in change.get("contract") or ()
        # What came from the version's own tree it survives.
        if one in came and run.get("version") != version
    }
    return Since(contract, list(went))


def proven(journal: Journal, version: str) -> bool:
    """Say whether a run of the journal has proven ``version``."""
    return any(_proves(run, version) for run in journal.get("runs", ()))


def _proves(run: typing.Mapping[str, typing.Any], version: str) -> bool:
    return run.get("action") != "migrate" and run.get("version") == version and run.get("outcome") == "verified"


def _changes(run: typing.Mapping[str, typing.Any]) -> Changes:
    """Return what a run did to the schema: as the host noted that did it, or as the journal was told in the end."""
    changes: Changes = run.get("changes") or [run]
    return changes


def _net(runs: Runs) -> tuple[dict[str, None], dict[str, None]]:
    """Return the migrations that came, and those that went, with these runs as a whole."""
    came: dict[str, None] = {}
    went: dict[str, None] = {}
    for change in (change for run in reversed(runs) for change in _changes(run)):
        known = change.get("known", True)
        for one in dict.fromkeys([*(change.get("applied") or ()), *(change.get("contract") or ())]):
            _move(one, out_of=went, into=came, known=known)
        for one in change.get("undone") or ():
            _move(one, out_of=came, into=went, known=known)
    return came, went


def _move(one: str, *, out_of: dict[str, None], into: dict[str, None], known: bool) -> None:
    if one not in out_of:
        into[one] = None
    elif known:
        del out_of[one]
