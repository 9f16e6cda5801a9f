# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The journal: every release of one app in one environment, one JSON line an event, only ever appended to."""

from __future__ import annotations

import json
import time
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import append_line, locked, read_text

__all__ = ["append", "fold", "read"]

Event = dict[str, typing.Any]
FILE = "journal.jsonl"


def append(state_dir: str | Path, event: typing.Mapping[str, typing.Any], *, check_mode: bool = False) -> bool:
    """Append ``event``, flushed to the disk; say whether it was new.

    An event is known by its lease (``token``) and ``event`` name: a step that runs twice writes it once.
    """
    path = Path(state_dir) / FILE
    if check_mode:
        return not _known(read(state_dir), event)
    with locked(path.with_suffix(".lock")):
        events = read(state_dir)
        if _known(events, event):
            return False
        append_line(path, json.dumps({**event, "at": time.time()}, sort_keys=True))
    return True


def read(state_dir: str | Path) -> list[Event]:
    """Return all events, oldest first.

    Raises:
        BatonError: a line before the last one is damaged (the last one may be torn by a power cut and is then left out).
    """
    path = Path(state_dir) / FILE
    lines = (read_text(path) or "").splitlines()
    events: list[Event] = []
    damaged: list[int] = []
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
        except ValueError:
            damaged.append(number)
            continue
        if isinstance(event, dict) and "event" in event and "token" in event:
            events.append(event)
        elif line.strip():
            damaged.append(number)
    # A torn line is followed by nothing, or by the line of the run that came after the power cut.
    if len(damaged) > 1:
        raise BatonError(
            found=f"lines {', '.join(map(str, damaged))} of {path} are damaged",
            expected="one JSON object with token and event a line; one torn line is tolerated",
            fix="restore the journal from a backup, or remove these lines if they are beyond repair",
        )
    return events


def fold(events: typing.Iterable[Event]) -> list[Event]:
    """Return one record for each run, newest first: what its ``started`` and ``finished`` events said together.

    A run without an end was interrupted or still runs: its ``outcome`` is ``unfinished``.
    """
    runs: dict[int, Event] = {}
    for event in events:
        run = runs.setdefault(event["token"], {"token": event["token"], "outcome": "unfinished"})
        times = {f"{event['event']}_at": event.get("at")}
        run.update(
            {key: value for key, value in event.items() if key not in ("event", "at") and value is not None}, **times
        )
    return [runs[token] for token in sorted(runs, reverse=True)]


def _known(events: typing.Iterable[Event], event: typing.Mapping[str, typing.Any]) -> bool:
    return any((known["token"], known["event"]) == (event["token"], event["event"]) for known in events)
