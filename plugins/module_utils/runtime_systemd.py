# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The runtime driver for systemd: for each slot one instance of the app's template unit, ``<app>@<slot>.service``.

A singleton is an instance ``<app>-singleton@<slot>-<name>.service`` of a second one, so that a new one needs nothing on the host before.

The role ``provision`` writes both templates. The first one says as whom the app runs and what it may touch, and starts
``slots/<slot>/run``. systemd reads the two environment files of the slot as root, so they need not be readable for the user of the app.
(systemd 239 to 257: systemctl(1), systemd.service(5), org.freedesktop.systemd1(5))
"""

from __future__ import annotations

import os
import re
import subprocess
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import read_text, write_atomically
from ansible_collections.baton.release.plugins.module_utils.launch import Launch, run_script

__all__ = ["Systemd", "parse_properties", "state_of"]

PROPERTIES = (
    "ActiveState",
    "ExecMainStatus",
    "ExecStart",
    "LoadError",
    "LoadState",
    "MainPID",
    "NRestarts",
    "NeedDaemonReload",
    "Result",
    "SubState",
    "UnitFileState",
)
LOG_LINES = 15
AGAIN_SECONDS = 300
"""After so long a timer runs again whose program could not do its work."""
DROP_IN = """\
# Written by baton.release.app_slot: how long this slot may take to end.
[Service]
TimeoutStopSec={time}
"""
_WORDS = {
    "core-dump": "crashed with signal {status}",
    "exit-code": "exit status {status}",
    "oom-kill": "killed, because its memory ran out",
    "resources": "could not be started",
    "signal": "ended by signal {status}",
    "start-limit-hit": "started too often in a row",
    "timeout": "took too long",
}


class Systemd:
    """The systemd of this host, asked with systemctl; ``units`` is where its administrator's units are."""

    program = "run"
    read_by_others = True

    def __init__(self, units: Path = Path("/etc/systemd/system")) -> None:
        """Look at nothing yet."""
        self.units = units

    def describe(self, launch: Launch, *, check_mode: bool) -> str:
        """Return the script that runs ``launch``; systemd reads the environment files."""
        del check_mode
        return run_script(launch, sources=False)

    def unit(self, app_name: str, slot: str) -> str:
        """Return the name of the instance of the app's template unit."""
        return f"{app_name}@{slot}.service"

    def singleton(self, app_name: str, slot: str, name: str) -> str:
        """Return the name of the instance of the template unit of the app's singletons."""
        return f"{app_name}-singleton@{slot}-{name}.service"

    def refuse_unfit(self, unit: str, command: Path, *, beside: Path) -> None:
        """Refuse a unit that is not there, or runs something else than ``command``.

        Raises:
            BatonError: provision.yml has not made the host ready for it.
        """
        del beside
        self._refuse_unfit(unit, self._show(unit), command)

    def state(self, unit: str) -> dict[str, typing.Any]:
        """Return ``{"state": running|starting|failing|stopped|absent, "pid": int|None, "detail": str}`` of ``unit``.

        Raises:
            BatonError: systemd does not answer.
        """
        return state_of(self._show(unit))

    def start(self, unit: str, *, command: Path, directory: Path, log: Path, stop_seconds: int) -> None:
        """Start ``unit`` from scratch, with no memory of failures; its script enters ``directory``, its output goes to the journal.

        Raises:
            BatonError: there is no such unit, it runs something else than ``command``, or systemd refuses.
        """
        del directory, log
        self._refuse_unfit(unit, self._show(unit), command)
        self.stop(unit)
        written = self._set_stop_time(unit, stop_seconds)
        if written or self._show(unit)["NeedDaemonReload"] == "yes":
            self._systemctl("daemon-reload")
        started = self._run("systemctl", "--no-ask-password", "start", unit)
        # What was started and failed is described by its state and its log.
        if started.returncode and self.state(unit)["state"] != "failing":
            raise _refused("start", unit, started.stderr)

    def stop(self, unit: str) -> bool:
        """Stop ``unit`` and let systemd forget that it failed; say whether it was anything but at rest.

        systemctl returns when all its processes have ended; systemd itself kills those that take too long.
        """
        if self._show(unit)["ActiveState"] == "inactive":
            self._reset(unit)
            return False
        self._systemctl("stop", unit)
        self._reset(unit)
        return True

    def discard(self, unit: str, *, check_mode: bool) -> bool:
        """Do nothing: an instance that does not run is nothing, and its template is provision's."""
        del unit, check_mode
        return False

    def keep(self, unit: str, *, check_mode: bool) -> bool:
        """Have ``unit`` start when the host does; say whether that is new."""
        new = self._show(unit)["UnitFileState"] != "enabled"
        if new and not check_mode:
            self._systemctl("enable", unit)
        return new

    def forget(self, unit: str, *, check_mode: bool) -> bool:
        """Have ``unit`` not start when the host does; say whether that is new."""
        new = self._show(unit)["UnitFileState"] == "enabled"
        if new and not check_mode:
            self._systemctl("disable", unit)
        return new

    def commands_to_retire(self, unit: str, timer: str) -> tuple[list[str], list[str]]:
        """Return what stops ``unit``, and what ends the timer, which may be the one that runs it."""
        systemctl = ["systemctl", "--no-ask-password"]
        return [*systemctl, "stop", unit], [*systemctl, "--no-block", "stop", f"{timer}.timer"]

    def schedule(self, timer: str, command: typing.Sequence[str], seconds: int) -> None:
        """Have a transient timer, which does not outlive a restart of the host; nor does an idle slot."""
        self.unschedule(timer)
        times = (f"--on-active={seconds}s", f"--on-unit-inactive={AGAIN_SECONDS}s", "--timer-property=AccuracySec=1s")
        done = self._run("systemd-run", "--no-ask-password", "--quiet", f"--unit={timer}", *times, *command)
        if done.returncode:
            raise _refused("systemd-run", timer, done.stderr)

    def unschedule(self, timer: str) -> None:
        """End the timer; what it runs just now finds nothing to do any more."""
        self._run("systemctl", "--no-ask-password", "stop", f"{timer}.timer")
        self._run("systemctl", "--no-ask-password", "reset-failed", f"{timer}.service", f"{timer}.timer")

    def log_end(self, unit: str, *, log: Path) -> tuple[str, str]:
        """Return how to read the journal of ``unit``, and its last lines."""
        del log
        # What the program wrote last may still be on its way into the journal.
        self._run("journalctl", "--sync")
        lines = ("--output=cat", f"--lines={LOG_LINES}", "--no-pager", "--quiet")
        return f"journalctl -u {unit}", self._run("journalctl", f"--unit={unit}", *lines).stdout.rstrip("\n")

    def _refuse_unfit(self, unit: str, seen: typing.Mapping[str, str], command: Path) -> None:
        template = f"{unit.partition('@')[0]}@.service"
        if seen["LoadState"] != "loaded":
            raise BatonError(
                found=f"systemd says of {unit}: {seen['LoadState']} {seen['LoadError']}".rstrip(),
                expected=f"the template unit {template} of the app on this host",
                fix="run provision.yml, and then this again; nothing was started",
            )
        path = re.search(r"path=(.*?) ;", seen["ExecStart"])
        if not path or path[1] != str(command):
            raise BatonError(
                found=f"{unit} runs {path[1] if path else 'nothing'}",
                expected=f"{command}, as app_root says",
                fix=f"run provision.yml with the same app_root, so that it writes {template} again; nothing was started",
            )

    def _set_stop_time(self, unit: str, seconds: int) -> bool:
        """Write how long ``unit`` may take to end; say whether that is new."""
        path = self.units / f"{unit}.d" / "stop.conf"
        # To systemd 0 would mean for ever.
        text = DROP_IN.format(time=f"{seconds}s" if seconds else "1ms")
        if read_text(path) == text:
            return False
        write_atomically(path, text)
        return True

    def _reset(self, unit: str) -> None:
        """Have systemd forget failures and starts of ``unit``; of one that is not loaded it has none to forget."""
        done = self._run("systemctl", "--no-ask-password", "reset-failed", unit)
        if done.returncode and "not loaded" not in done.stderr:
            raise _refused("reset-failed", unit, done.stderr)

    def _show(self, unit: str) -> dict[str, str]:
        done = self._run("systemctl", "show", f"--property={','.join(PROPERTIES)}", unit)
        if done.returncode:
            raise BatonError(
                found=f"systemd does not answer: {done.stderr.strip()}",
                expected="a host that runs systemd, which the user of this task may ask",
                fix="set app_runtime to what this host has, or bring systemd back",
            )
        return parse_properties(done.stdout)

    def _systemctl(self, verb: str, *units: str) -> None:
        done = self._run("systemctl", "--no-ask-password", verb, *units)
        if done.returncode:
            raise _refused(verb, " ".join(units), done.stderr)

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
        try:
            return subprocess.run(
                command,
                capture_output=True,
                check=False,
                encoding="utf-8",
                env=environment,
                errors="replace",
                stdin=subprocess.DEVNULL,
            )
        except OSError as error:
            raise BatonError(
                found=f"{command[0]} cannot be run: {error.strerror}",
                expected="a host that runs systemd",
                fix="set app_runtime to what this host has",
            ) from error


def parse_properties(text: str) -> dict[str, str]:
    """Return what ``systemctl show`` printed; a property that it does not know is empty."""
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {name: found.get(name, "") for name in PROPERTIES}


def state_of(properties: typing.Mapping[str, str]) -> dict[str, typing.Any]:
    """Return state, pid and detail of a unit with these properties.

    A unit that waits to be started again is failing. One that is at rest is ``stopped`` while the boot of the host would start it,
    and ``absent`` otherwise.
    """
    active, pid = properties["ActiveState"], properties["MainPID"]
    if active == "failed" or properties["SubState"] == "auto-restart":
        state = "failing"
    elif active in ("active", "reloading"):
        state = "running"
    elif active == "activating":
        state = "starting"
    else:
        state = "absent" if active == "inactive" and properties["UnitFileState"] != "enabled" else "stopped"
    return {
        "state": state,
        "pid": int(pid) if pid.isdigit() and pid != "0" else None,
        "detail": _detail(state, properties),
    }


def _detail(state: str, properties: typing.Mapping[str, str]) -> str:
    if state != "failing":
        return ""
    words = [_WORDS.get(properties["Result"], properties["Result"]).format(status=properties["ExecMainStatus"])]
    restarts = int(properties["NRestarts"] or 0)
    words += [f"restarted {restarts} time{'' if restarts == 1 else 's'}"] if restarts else []
    words += ["given up"] if properties["ActiveState"] == "failed" else []
    return f"({', '.join(words)})"


def _refused(verb: str, units: str, said: str) -> BatonError:
    return BatonError(
        found=f"systemctl {verb} {units}".rstrip() + f" failed: {said.strip()}",
        expected="that systemd obeys",
        fix="let this task run as root (ansible_become: true for the app hosts), or look at what systemd says, and run again",
    )
