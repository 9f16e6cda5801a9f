# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""When the idle slot of a host is stopped by itself: the record ``retirement.json`` in the state directory, and the timer that follows it.

Every run that is about to move traffic takes the record away first, under the lock and the lease of this host, and the timer does nothing
without it. A run that ends well writes a new one. Where the runtime has no timers, the next run that finds nothing else to do sweeps.
"""

from __future__ import annotations

import inspect
import sys
import time
import typing
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils import retirement_program
from ansible_collections.baton.release.plugins.module_utils.files import (
    read_json,
    read_text,
    write_atomically,
    write_json,
)
from ansible_collections.baton.release.plugins.module_utils.runtimes import Runtime

__all__ = ["Retirement", "arrange", "cancel", "planned", "retires"]

RECORD = "retirement.json"
PROGRAM = "retirement.py"


@dataclass(frozen=True)
class Retirement:
    """What is to be retired, and what has to be so until then."""

    app_name: str
    slot: str
    version: str
    live_version: str
    """What every load balancer must serve."""
    seconds: int
    unit: str
    ask: typing.Sequence[str] = field(default_factory=tuple)
    """Where each load balancer is asked for the version, as seen from this host."""
    version_key: str = "version"


def planned(state_dir: Path) -> dict[str, typing.Any]:
    """Return the record; empty when no slot is to be retired."""
    return read_json(state_dir / RECORD) or {}


def retires(state_dir: Path, slot: str, now: float) -> dict[str, typing.Any]:
    """Return in how many seconds ``slot`` is to be retired, None for never, and whether a timer does it."""
    record = planned(state_dir)
    if record.get("slot") != slot:
        return {"retires_in": None, "timer": False}
    return {"retires_in": round(record["at"] - now), "timer": bool(record["unschedule"])}


def arrange(wanted: Retirement, runtime: Runtime, *, state_dir: Path, token: int | None, check_mode: bool) -> bool:
    """Have the slot retired when its time is over; say whether that is new. What was arranged for another one is cancelled."""
    timer = f"{wanted.app_name}-retirement"
    stop, unschedule = runtime.commands_to_retire(wanted.unit, timer) if wanted.ask else ([], [])
    record = {
        "slot": wanted.slot,
        "version": wanted.version,
        "live_version": wanted.live_version,
        "token": token or 0,
        "ask": list(wanted.ask),
        "version_key": wanted.version_key,
        "stop": stop,
        "unschedule": unschedule,
    }
    there = planned(state_dir)
    if there and {**there, "at": 0} == {**record, "at": 0}:
        return False
    if not check_mode:
        write_json(state_dir / RECORD, {**record, "at": time.time() + wanted.seconds})
        if stop:
            _write_program(state_dir)
            runtime.schedule(timer, [sys.executable, str(state_dir / PROGRAM), str(state_dir)], wanted.seconds)
    return True


def cancel(app_name: str, runtime: Runtime, *, state_dir: Path, check_mode: bool) -> bool:
    """Have no slot retired; say whether one was to be."""
    there = bool(planned(state_dir))
    if there and not check_mode:
        # In this order: the timer does nothing without the record.
        (state_dir / RECORD).unlink()
        runtime.unschedule(f"{app_name}-retirement")
    return there


def _write_program(state_dir: Path) -> None:
    text = inspect.getsource(retirement_program)
    if read_text(state_dir / PROGRAM) != text:
        write_atomically(state_dir / PROGRAM, text)
