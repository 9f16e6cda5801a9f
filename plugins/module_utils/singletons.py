# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The singletons of an app on one host: processes of a slot's release, beside the app, of which at most one may run anywhere.

``<app_root>/singletons/<slot>-<name>/`` is there as long as one may run: with the program's file (``run`` or ``container.json``), with
``singleton.json``, which says what it was given, and with ``slot``, a link to its slot, for the environment.
``slots/<slot>/singletons.json`` says which ones have last stayed up from that slot, so that a slot to which traffic goes back comes back
as it was.
"""

from __future__ import annotations

import shutil
import time
import typing
from dataclasses import replace
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils import envfile
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import (
    read_json,
    read_text,
    write_atomically,
    write_json,
)
from ansible_collections.baton.release.plugins.module_utils.launch import Launch
from ansible_collections.baton.release.plugins.module_utils.runtimes import Runtime
from ansible_collections.baton.release.plugins.module_utils.singleton_settings import Singleton, singletons_of

__all__ = ["Singletons"]

POLL_SECONDS = 0.2
START_SECONDS = 30.0
"""How long one may take to count as running at all."""
RUNS = ("running", "starting")

Wanted = typing.Mapping[str, typing.Optional[Singleton]]
Record = typing.Mapping[str, typing.Any]


class Singletons:
    """All singletons of one app on this host."""

    def __init__(self, app_name: str, app_root: Path, runtime: Runtime) -> None:
        """Look at nothing yet."""
        self.app_name = app_name
        self.root = app_root
        self.runtime = runtime

    def observe(self) -> list[dict[str, typing.Any]]:
        """Return those that may run: name, slot, version, digest of what they were given, and the state of the process."""
        return [
            {
                **{key: one[key] for key in ("name", "slot", "version")},
                "digest": _given(one).digest,
                **self.runtime.state(self._unit(one["slot"], one["name"])),
            }
            for one in self._records()
        ]

    def remembered(self, slot: str) -> dict[str, Singleton] | None:
        """Return those that have last stayed up from ``slot``; None where none was ever asked for since the slot got its release."""
        known = read_json(self._memory(slot))
        return None if known is None else {name: _given(one) for name, one in known.items()}

    def forget(self, slot: str) -> None:
        """Remember nothing of ``slot``: it gets another release."""
        self._memory(slot).unlink(missing_ok=True)

    def stop_all_of(self, slot: str, *, check_mode: bool) -> bool:
        """Have none of ``slot`` run; say whether one had to be stopped."""
        return self._stop([one for one in self._records() if one["slot"] == slot], check_mode=check_mode)

    def stop_others(self, slot: str, wanted: Wanted, *, check_mode: bool) -> bool:
        """Have none run but those of ``wanted`` from ``slot``, and these only as they are wanted; say whether one had to be stopped.

        Args:
            slot: the slot.
            wanted: what each is given; None for what it was given before.
            check_mode: stop nothing.

        Raises:
            BatonError: what is wanted could not be started here afterwards. Nothing was stopped then.
        """
        for name in wanted if not check_mode else ():
            beside = self.root / "slots" / slot
            self.runtime.refuse_unfit(self._unit(slot, name), self._program(slot, name), beside=beside)
        known = self.remembered(slot) or {}
        digests = {name: given.digest for name, one in wanted.items() if (given := one or known.get(name))}
        kept = {one["name"] for one in self.observe() if _runs_so(one, slot, digests)}
        doomed = [one for one in self._records() if one["slot"] != slot or one["name"] not in kept]
        return self._stop(doomed, check_mode=check_mode)

    def start(self, launch: Launch, wanted: Wanted, *, stay_seconds: float, check_mode: bool) -> bool:
        """Have those of ``wanted`` run, and no other one; say whether anything had to be done.

        Args:
            launch: how the app itself runs in the slot; the command and the time to end are each singleton's own.
            wanted: what each is given; None for what it was given before.
            stay_seconds: how long each has to run without an end.
            check_mode: start nothing.

        Raises:
            BatonError: nothing is known of one, or one does not stay up; it is left as it is then, for its runtime to try again.
        """
        slot, known = launch.slot, self.remembered(launch.slot)
        _refuse_unknown(slot, [name for name, one in wanted.items() if one is None and name not in (known or {})])
        given = {name: one or (known or {})[name] for name, one in wanted.items()}
        stopped = self.stop_others(slot, given, check_mode=check_mode)
        there = {one["name"] for one in self.observe() if one["slot"] == slot and one["state"] in RUNS}
        missing = {name: one for name, one in given.items() if name not in there}
        if not check_mode and (missing or known != given):
            # Until they have stayed up, what is known of a name is what stayed up before.
            self._remember(slot, {**given, **(known or {})})
            for name, one in missing.items():
                own = replace(launch, command=one.command, stop_seconds=one.stop_seconds, singleton=name)
                self._start(own, one)
            if missing:
                self._await_steady(launch, missing, stay_seconds)
            self._remember(slot, given)
        return bool(stopped or missing)

    def _start(self, launch: Launch, given: Singleton) -> None:
        place, unit = self._place(launch.slot, launch.singleton), self._unit(launch.slot, launch.singleton)
        own = {"name": launch.singleton, "slot": launch.slot, "version": launch.version}
        # First: what may run from now on is found again.
        write_json(place / "singleton.json", {**own, **given.as_json()}, mode=0o600)
        program, text = self._program(launch.slot, launch.singleton), self.runtime.describe(launch, check_mode=False)
        write_atomically(program, text, mode=0o700 if text.startswith("#!") else 0o600)
        if not (place / "slot").is_symlink():
            (place / "slot").symlink_to(Path("..", "..", "slots", launch.slot))
        if self.runtime.read_by_others:
            for path in (place.parent, place, program):
                path.chmod(0o755)
        # In this order: cut off in between, it is started when the host starts, as it would have been.
        self.runtime.keep(unit, check_mode=False)
        self.runtime.start(
            unit,
            command=program,
            directory=launch.release,
            log=self._log(launch.slot, launch.singleton),
            stop_seconds=given.stop_seconds,
        )

    def _await_steady(self, launch: Launch, names: typing.Iterable[str], seconds: float) -> None:
        """Wait until all have run for so long with the same process.

        Raises:
            BatonError: one has ended, was started again, or does not come to run.
        """
        pids: dict[str, int] = {}
        steady, begun = None, time.monotonic()
        while steady is None or time.monotonic() - steady < seconds:
            seen = {name: self.runtime.state(self._unit(launch.slot, name)) for name in names}
            for name, one in seen.items():
                late = one["state"] != "running" and time.monotonic() - begun > START_SECONDS
                again = one["pid"] not in (None, pids.get(name, one["pid"]))
                if one["state"] not in RUNS or late or again:
                    raise self._ended(launch, name, one, seconds)
            pids.update({name: one["pid"] for name, one in seen.items() if one["pid"]})
            if steady is None and all(one["state"] == "running" for one in seen.values()):
                steady = time.monotonic()
            time.sleep(POLL_SECONDS)

    def _ended(self, launch: Launch, name: str, seen: Record, seconds: float) -> BatonError:
        unit = self._unit(launch.slot, name)
        place, tail = self.runtime.log_end(unit, log=self._log(launch.slot, name))
        state = "was started again" if seen["state"] in RUNS else f"is {seen['state']} {seen['detail']}".rstrip()
        tail = envfile.masked(tail, read_text(launch.directory / "secrets.env") or "")
        return BatonError(
            found=f"the singleton {name}: {unit} {state}; the end of {place}:\n{tail}\n",
            expected=f"that {name} of {launch.version} stays up for {seconds:g} s",
            fix="mend the version, its configuration or its secrets, or what slot_singletons says, and run again",
        )

    def _stop(self, doomed: typing.Sequence[Record], *, check_mode: bool) -> bool:
        for one in doomed if not check_mode else ():
            unit = self._unit(one["slot"], one["name"])
            # In this order: cut off in between, it does not come back with the host, and is found again.
            self.runtime.forget(unit, check_mode=False)
            self.runtime.stop(unit)
            self.runtime.discard(unit, check_mode=False)
            shutil.rmtree(self._place(one["slot"], one["name"]))
        return bool(doomed)

    def _records(self) -> list[Record]:
        found = (read_json(path) for path in sorted((self.root / "singletons").glob("*/singleton.json")))
        return [one for one in found if one]

    def _remember(self, slot: str, given: typing.Mapping[str, Singleton]) -> None:
        write_json(self._memory(slot), {name: one.as_json() for name, one in given.items()}, mode=0o600)

    def _memory(self, slot: str) -> Path:
        return self.root / "slots" / slot / "singletons.json"

    def _log(self, slot: str, name: str) -> Path:
        return self.root / "slots" / slot / "log" / f"singleton-{name}.log"

    def _place(self, slot: str, name: str) -> Path:
        return self.root / "singletons" / f"{slot}-{name}"

    def _program(self, slot: str, name: str) -> Path:
        return self._place(slot, name) / self.runtime.program

    def _unit(self, slot: str, name: str) -> str:
        return self.runtime.singleton(self.app_name, slot, name)


def _given(record: Record) -> Singleton:
    """Return what a file says that one is given.

    Raises:
        BatonError: somebody else has written it.
    """
    (one,) = singletons_of({"x": {key: record.get(key) for key in ("command", "stop_seconds")}}).values()
    if one is None:
        raise AssertionError("it says something")
    return one


def _runs_so(one: Record, slot: str, digests: typing.Mapping[str, str]) -> bool:
    return bool(one["slot"] == slot and one["state"] in RUNS and digests.get(one["name"]) == one["digest"])


def _refuse_unknown(slot: str, names: typing.Sequence[str]) -> None:
    if names:
        raise BatonError(
            found=f"nothing of {', '.join(names)} in {slot} on this host",
            expected="singletons that have run from there before, or their command",
            fix="release the version that is live again, which starts what slot_singletons says",
        )
