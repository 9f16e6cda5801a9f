# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""One slot on one app host: which release it holds, what that release is given, and whether it runs.

``<app_root>/slots/<slot>/`` holds ``env`` (0600, what the operator configured), ``secrets.env`` (0600, from secret_fetch), the program's
file (``run`` or ``container.json``: what the runtime starts) and ``slot.json``, which says what the slot was given.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import time
import typing
from dataclasses import dataclass, field, replace
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
from ansible_collections.baton.release.plugins.module_utils.releases import Releases
from ansible_collections.baton.release.plugins.module_utils.runtimes import Runtime
from ansible_collections.baton.release.plugins.module_utils.singleton_settings import Singleton
from ansible_collections.baton.release.plugins.module_utils.singletons import Singletons
from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS, other

__all__ = ["Slot", "Spec", "gather"]

POLL_SECONDS = 0.1
HANGS_UP_SECONDS = 0.5
"""So long after the connection a proxy has hung up at the latest whose program does not listen."""


@dataclass(frozen=True)
class Spec:
    """What the operator wants of a slot."""

    app_name: str
    app_root: Path
    slot: str
    port: int = 0
    instance: str = ""
    version: str = ""
    command: tuple[str, ...] = ()
    environment: typing.Mapping[str, str] = field(default_factory=dict)
    stop_seconds: int = 30
    start_seconds: float = 60.0
    published: str = ""
    """The address at which the runtime itself listens for the app; "" where the app opens the port of the host."""


class Slot:
    """One slot, and what can be done with it."""

    def __init__(self, spec: Spec, runtime: Runtime) -> None:
        """Look at the slot of ``spec``; nothing of it need exist."""
        self.spec = spec
        self.runtime = runtime
        self.releases = Releases(spec.app_root)
        self.directory = spec.app_root / "slots" / spec.slot
        self.unit = runtime.unit(spec.app_name, spec.slot)
        self.log = self.directory / "log" / "app.log"
        self.singletons = Singletons(spec.app_name, spec.app_root, runtime)

    def record(self) -> dict[str, typing.Any]:
        """Return what the slot was given: ``{version, inputs, started}``; empty when nothing."""
        return read_json(self.directory / "slot.json") or {}

    def observe(self) -> dict[str, typing.Any]:
        """Return the slot as it is: version, runtime state, pid, and whether it runs with what it was last given."""
        record, process = self.record(), self.runtime.state(self.unit)
        running = process["state"] in ("running", "starting")
        return {
            "version": record.get("version", ""),
            **process,
            "current": bool(running and record.get("started") and record["started"] == record.get("inputs")),
        }

    def prepare(self, *, check_mode: bool) -> bool:
        """Give the slot its release, environment and start script, not started; say whether anything changed.

        A slot that runs something else is stopped first, so that a restart by its runtime cannot mix old and new.
        """
        program = self.runtime.describe(self._launch(), check_mode=check_mode)
        inputs = self._inputs(program)
        if program and self.record().get("inputs") == inputs:
            return False
        if not check_mode:
            self.singletons.stop_all_of(self.spec.slot, check_mode=False)
            self.singletons.forget(self.spec.slot)
            self.runtime.stop(self.unit)
            self.runtime.forget(self.unit, check_mode=False)
            env = {**self.spec.environment, **self._own_environment()}
            write_atomically(self.directory / "env", envfile.render(env), mode=0o600)
            write_atomically(self._program, program, mode=0o700 if program.startswith("#!") else 0o600)
            if self.runtime.read_by_others:
                # The program runs as another user, who needs the script and nothing else here.
                self._program.chmod(0o755)
                self.directory.chmod(0o755)
            write_json(self.directory / "slot.json", {"version": self.spec.version, "inputs": inputs})
        return True

    def start(self, *, check_mode: bool) -> bool:
        """Have the slot run with what it was given, its port open; say whether it had to be started.

        Raises:
            BatonError: nothing was prepared, the port is taken, or the program does not come up in time.
        """
        record = self.record()
        if self.observe()["current"] and self._listening():
            return False
        if check_mode:
            return True
        if record.get("version") != self.spec.version:
            raise BatonError(
                found=f"slot {self.spec.slot} holds {record.get('version') or 'nothing'}",
                expected=f"{self.spec.version}, prepared",
                fix="run app_slot with state=present first",
            )
        self.runtime.stop(self.unit)
        self._refuse_taken_port()
        self.runtime.start(
            self.unit,
            command=self._program,
            directory=self.releases.path(self.spec.version),
            log=self.log,
            stop_seconds=self.spec.stop_seconds,
        )
        self._await_port()
        write_json(self.directory / "slot.json", {**record, "started": record["inputs"], "started_at": time.time()})
        return True

    def stop(self, *, check_mode: bool) -> bool:
        """Have the slot not run, nor any singleton of it; say whether anything had to be stopped."""
        stopped = self.singletons.stop_all_of(self.spec.slot, check_mode=check_mode)
        known = bool(self.runtime.state(self.unit)["state"] != "absent")
        if known and not check_mode:
            self.runtime.stop(self.unit)
            self.runtime.forget(self.unit, check_mode=False)
        return known or stopped

    def start_singletons(
        self, wanted: typing.Mapping[str, Singleton | None], *, stay_seconds: float, check_mode: bool
    ) -> bool:
        """Have the singletons of ``wanted`` run from this slot, and no other ones on this host; say whether anything had to be done.

        Raises:
            BatonError: the slot holds another version or nothing, or one of them does not stay up.
        """
        holds = self.record().get("version", "")
        # In check mode it may not be there yet.
        if not check_mode and (not holds or self.spec.version not in ("", holds)):
            raise BatonError(
                found=f"slot {self.spec.slot} holds {holds or 'nothing'}",
                expected=f"{self.spec.version or 'a version'}, prepared",
                fix="run app_slot with state=present first",
            )
        launch = replace(self._launch(), version=holds, release=self.releases.path(holds))
        return self.singletons.start(launch, wanted, stay_seconds=stay_seconds, check_mode=check_mode)

    def keep(self, *, check_mode: bool) -> bool:
        """Have this slot, and not the other one, come back when the host does; say whether that is new."""
        # In this order: cut off in between, both come back rather than none.
        kept = self.runtime.keep(self.unit, check_mode=check_mode)
        return self.runtime.forget(self.beside().unit, check_mode=check_mode) or kept

    def remove(self, *, check_mode: bool) -> bool:
        """Remove what the slot was given; say whether there was anything. The slot must be stopped."""
        left = self.runtime.discard(self.unit, check_mode=check_mode)
        there = self.directory.exists()
        if there and not check_mode:
            shutil.rmtree(self.directory)
        return there or left

    def beside(self) -> Slot:
        """Return the other slot of this host."""
        return Slot(replace(self.spec, slot=other(self.spec.slot)), self.runtime)

    def prune(self, *, keep: int, check_mode: bool) -> list[str]:
        """Remove old releases that no slot holds; return their versions."""
        needed = {self.record().get("version", ""), self.beside().record().get("version", "")}
        return self.releases.prune(keep=keep, needed=needed, check_mode=check_mode)

    def _own_environment(self) -> dict[str, str]:
        return {
            "PORT": str(self.spec.port),
            "BATON_INSTANCE": self.spec.instance,
            "BATON_SLOT": self.spec.slot,
            "BATON_VERSION": self.spec.version,
        }

    @property
    def _program(self) -> Path:
        return self.directory / self.runtime.program

    def _launch(self) -> Launch:
        return Launch(
            app_name=self.spec.app_name,
            version=self.spec.version,
            slot=self.spec.slot,
            port=self.spec.port,
            release=self.releases.path(self.spec.version),
            directory=self.directory,
            command=self.spec.command,
            stop_seconds=self.spec.stop_seconds,
            own=self._own_environment(),
        )

    def _inputs(self, program: str) -> str:
        """Return a digest of all that the process would be given; another digest means it must be started anew."""
        release = self.releases.mark(self.spec.version) or {}
        parts = (
            release.get("sha256", ""),
            str(self.spec.app_root),
            program,
            envfile.render({**self.spec.environment, **self._own_environment()}),
            read_text(self.directory / "secrets.env") or "",
            str(self.spec.stop_seconds),
        )
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _listening(self) -> bool:
        try:
            with socket.create_connection((self.spec.published or "127.0.0.1", self.spec.port), timeout=1.0) as probe:
                return not self.spec.published or _stays(probe)
        except OSError:
            return False

    def _refuse_taken_port(self) -> None:
        with socket.socket() as probe:
            # As servers do: a connection that lingers in TIME_WAIT is no owner of the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", self.spec.port))
            except OSError as error:
                raise BatonError(
                    found=f"port {self.spec.port} of slot {self.spec.slot} on this host: {os.strerror(error.errno or 0)}",
                    expected="a free port for the slot",
                    fix=f"end the process that listens there (ss -ltnp 'sport = :{self.spec.port}'), or correct app_slots",
                ) from error

    def _await_port(self) -> None:
        deadline = time.monotonic() + self.spec.start_seconds
        while not self._listening():
            process = self.runtime.state(self.unit)
            if process["state"] in ("failing", "stopped", "absent") or time.monotonic() > deadline:
                place, tail = self.runtime.log_end(self.unit, log=self.log)
                tail = envfile.masked(tail, read_text(self.directory / "secrets.env") or "")
                raise BatonError(
                    found=f"{self.unit} is {process['state']} {process['detail']}".rstrip()
                    + f" and port {self.spec.port} is closed; the end of {place}:\n{tail}\n",
                    expected=f"that {self.spec.version} listens on it within {self.spec.start_seconds:g} s",
                    fix="traffic was not touched; mend the version, its configuration or its secrets, and release again",
                )
            time.sleep(POLL_SECONDS)


def _stays(probe: socket.socket) -> bool:
    """Say whether a connection lasts: a runtime that publishes a port accepts for a program that does not listen, and hangs up."""
    probe.settimeout(HANGS_UP_SECONDS)
    try:
        return probe.recv(1) != b""
    except socket.timeout:
        # Not yet a TimeoutError in Python 3.9.
        return True


def gather(app_name: str, app_root: Path, runtime: Runtime) -> dict[str, typing.Any]:
    """Return both slots as they are, with the singletons that have stayed up from them, those that may run now, and the releases."""
    slots = {slot: Slot(Spec(app_name, app_root, slot), runtime) for slot in SLOTS}
    releases = Releases(app_root)
    verified = {mark["version"] for mark in releases.installed() if mark.get("verified_at")}
    observed = {name: slot.observe() for name, slot in slots.items()}
    singletons = Singletons(app_name, app_root, runtime)
    return {
        "slots": {
            name: {**one, "verified": one["version"] in verified, "singletons": _digests(singletons.remembered(name))}
            for name, one in observed.items()
        },
        "singletons": singletons.observe(),
        "releases": releases.installed(),
    }


def _digests(known: typing.Mapping[str, Singleton] | None) -> dict[str, str] | None:
    """Return what is remembered of a slot without the commands, which are nobody's business."""
    return None if known is None else {name: one.digest for name, one in known.items()}
