# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The runtime driver for docker: for each slot one container, ``<app>-<slot>``, of an image or of a Compose file of the release.

A singleton is a container ``<app>-<slot>-<name>``, described as that of its slot is, but for its command.

docker knows no policy that starts a container again after a crash and leaves it alone after a reboot. So only the slot that was kept has
one, and a singleton from its start on, as it is to come back after both; any other container that ends stays so. That of a slot is left
where it is then, with its log, until the slot needs its name. That of a singleton is removed when it was stopped, so that nobody starts
it by hand beside the one that runs by then.
(docker 20.10 and newer, https://docs.docker.com/reference/api/engine/)
"""

from __future__ import annotations

import calendar
import functools
import ipaddress
import shutil
import socket
import time
import typing
from dataclasses import replace
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils import compose_file, docker_images, envfile
from ansible_collections.baton.release.plugins.module_utils._docker import Engine
from ansible_collections.baton.release.plugins.module_utils.containers import Container, from_text
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import read_text
from ansible_collections.baton.release.plugins.module_utils.launch import Launch
from ansible_collections.baton.release.plugins.module_utils.runtime_systemd import Systemd

__all__ = ["Docker", "state_of"]

LABEL = "baton.release"
SINGLETON = f"{LABEL}.singleton"
LOG_LINES = 15
STEADY_SECONDS = 10
"""docker itself counts a restart as gone well after so long."""
_STOP_SECONDS = 10
_SYSTEMD = Path("/run/systemd/system")
_RUNS = ("running", "restarting", "paused")

Seen = typing.Mapping[str, typing.Any]


class Docker:
    """The docker engine of this host, with the app under ``app_root``."""

    program = "container.json"
    read_by_others = False

    def __init__(self, options: typing.Mapping[str, typing.Any]) -> None:
        """Note the options of the module; nothing is asked yet."""
        self.root = str(options["app_root"])
        self.image = options["docker_image"] or ""
        self.compose = options["docker_compose"] or ""
        self.archive = options["docker_archive"] or ""
        self.address = (options["docker_address"] or "").strip("[]")

    @functools.cached_property
    def engine(self) -> Engine:
        """The engine, connected when it is first needed."""
        return Engine()

    def unit(self, app_name: str, slot: str) -> str:
        """Return the name of the container of a slot."""
        return f"{app_name}-{slot}"

    def singleton(self, app_name: str, slot: str, name: str) -> str:
        """Return the name of the container of a singleton; names of singletons do not end as that of another app's slot does."""
        return f"{app_name}-{slot}-{name}"

    def refuse_unfit(self, unit: str, command: Path, *, beside: Path) -> None:
        """Refuse a singleton whose slot was not prepared as a container, or by whose name there is one of somebody else.

        Raises:
            BatonError: with the reason.
        """
        del command
        self._ours(unit)
        self._prepared(beside)

    def describe(self, launch: Launch, *, check_mode: bool) -> str:
        """Have the image of ``launch`` on this host, and return the description of its container, without anything secret.

        That of a singleton follows from that of its slot alone, whatever the options say by now.

        Raises:
            BatonError: there is no image or too many, the Compose file cannot be used, or the address is not one of this host; or the
                slot of a singleton was not prepared.
        """
        if launch.singleton:
            return _beside(self._prepared(launch.directory), launch).text()
        if bool(self.image) == bool(self.compose):
            raise BatonError(
                found=f"{'both an image and a Compose file' if self.image else 'neither an image nor a Compose file'} for runtime docker",
                expected="one of the two",
                fix="set app_docker_image or app_docker_compose; nothing was touched",
            )
        if check_mode and not launch.release.is_dir():
            return ""
        _refuse_unfit(self.address)
        self._ours(self.unit(launch.app_name, launch.slot))
        wanted = self._wanted(launch)
        archive = launch.release / _put_in(self.archive, launch) if self.archive else None
        found = docker_images.image_id(self.engine, wanted.image, archive, check_mode=check_mode)
        labels = {
            LABEL: self.root,
            f"{LABEL}.app": launch.app_name,
            f"{LABEL}.slot": launch.slot,
            f"{LABEL}.version": launch.version,
            f"{LABEL}.restart": wanted.restart,
        }
        return replace(wanted, image_id=found, labels=labels).text() if found else ""

    def state(self, unit: str) -> dict[str, typing.Any]:
        """Return ``{"state": running|starting|failing|stopped|absent, "pid": int|None, "detail": str}`` of the container ``unit``.

        Raises:
            BatonError: the engine does not answer, or the container is somebody else's.
        """
        return state_of(self._ours(unit), time.time())

    def start(self, unit: str, *, command: Path, directory: Path, log: Path, stop_seconds: int) -> None:
        """Start ``unit`` from scratch, as the file ``command`` describes it, with the environment files of its slot.

        Raises:
            BatonError: the image is gone, or the engine refuses.
        """
        del directory, log, stop_seconds
        wanted = from_text(read_text(command) or "{}")
        once = wanted.labels.get(SINGLETON, "")
        environment = {
            **wanted.environment,
            **_environment(command.parent / "slot" if once else command.parent),
            "PORT": str(wanted.target),
            **({"BATON_SINGLETON": once} if once else {}),
        }
        self.stop(unit)
        self.discard(unit, check_mode=False)
        host, config = _options(wanted)
        self.engine.create(unit, wanted.image_id, host=host, environment=environment, **config)
        try:
            self.engine.start(unit)
        except BatonError:
            # It has written nothing that a person could need.
            self.discard(unit, check_mode=False)
            raise

    def stop(self, unit: str) -> bool:
        """Stop ``unit``, within the time that it was made with; say whether it ran."""
        seen = self._ours(unit)
        if seen is None or seen["State"]["Status"] not in _RUNS:
            return False
        seconds = seen["Config"].get("StopTimeout")
        self.engine.stop(seen["Id"], _STOP_SECONDS if seconds is None else int(seconds))
        return True

    def discard(self, unit: str, *, check_mode: bool) -> bool:
        """Remove the container of ``unit``, which has ended, and its log with it; say whether there was one."""
        seen = self._ours(unit)
        if seen is not None and not check_mode:
            self.engine.remove(seen["Id"])
        return seen is not None

    def keep(self, unit: str, *, check_mode: bool) -> bool:
        """Have the engine start ``unit`` again, after a crash and when it starts itself; say whether that is new.

        From now on that holds for a crash before, too: what has ended by itself is started. A singleton has it from its start on, and
        what is left of another one is none to be started.
        """
        seen = self._ours(unit)
        if seen is None or SINGLETON in seen["Config"]["Labels"]:
            return False
        wanted = seen["Config"]["Labels"].get(f"{LABEL}.restart", "unless-stopped")
        new = bool(_policy(seen) != wanted)
        if new and not check_mode:
            self.engine.set_restart(unit, wanted)
            if seen["State"]["Status"] not in _RUNS:
                self.engine.start(unit)
        return new

    def forget(self, unit: str, *, check_mode: bool) -> bool:
        """Have the engine not start ``unit`` by itself; say whether that is new."""
        seen = self._ours(unit)
        new = seen is not None and _policy(seen) != "no"
        if new and not check_mode:
            self.engine.set_restart(unit, "no")
        return new

    def commands_to_retire(self, unit: str, timer: str) -> tuple[list[str], list[str]]:
        """Return what stops this very container, and what ends the timer; none where systemd has no timers, or docker no program."""
        seen, program = self._ours(unit), shutil.which("docker")
        if seen is None or program is None or not _SYSTEMD.is_dir():
            return [], []
        return [program, "stop", seen["Id"]], Systemd().commands_to_retire(unit, timer)[1]

    def schedule(self, timer: str, command: typing.Sequence[str], seconds: int) -> None:
        """Have a timer of systemd, which ``commands_to_retire`` has seen to be there."""
        Systemd().schedule(timer, command, seconds)

    def unschedule(self, timer: str) -> None:
        """End the timer, where there can be one."""
        if _SYSTEMD.is_dir():
            Systemd().unschedule(timer)

    def log_end(self, unit: str, *, log: Path) -> tuple[str, str]:
        """Return how to read the log of ``unit``, and its last lines, as far as its log driver lets them be read."""
        del log
        try:
            return f"docker logs {unit}", self.engine.last_lines(unit, LOG_LINES)
        except BatonError as error:
            return f"docker logs {unit}", f"({error.found})"

    def _wanted(self, launch: Launch) -> Container:
        if self.compose:
            return compose_file.container_of(launch, _put_in(self.compose, launch), address=self.address)
        return Container(
            image=_put_in(self.image, launch),
            address=self.address,
            port=launch.port,
            target=launch.port,
            command=launch.command,
            stop_seconds=launch.stop_seconds,
            security_opt=("no-new-privileges:true",),
        )

    def _prepared(self, directory: Path) -> Container:
        """Return the container of the slot in ``directory``, as it was prepared.

        Raises:
            BatonError: it was not, or for another runtime.
        """
        text = read_text(directory / self.program)
        if text is None:
            raise BatonError(
                found=f"no {self.program} in {directory}",
                expected="a slot that was prepared for runtime docker, as whose container its singletons run",
                fix="release the version that is live again, into the other slot; nothing was touched",
            )
        return from_text(text)

    def _ours(self, unit: str) -> Seen | None:
        """Return what the engine knows of the container of a slot or of a singleton, None where there is none.

        Raises:
            BatonError: there is one by that name which is not of this app, slot, singleton and directory.
        """
        seen = self.engine.container(unit)
        if seen is None:
            return None
        labels = seen["Config"].get("Labels") or {}
        names = [labels.get(f"{LABEL}.app"), labels.get(f"{LABEL}.slot"), *filter(None, [labels.get(SINGLETON)])]
        if "-".join(map(str, names)) == unit and labels.get(LABEL) == self.root:
            return seen
        whose = f"that of the app under {labels[LABEL]}" if labels.get(LABEL) else "not made by app_slot"
        raise BatonError(
            found=f"a container {unit} on this host, which is {whose}",
            expected=f"none by that name, or the one of the app under {self.root}",
            fix=f"rename it (docker rename {unit}) or remove it, or choose another app_name; it was not touched",
        )


def state_of(seen: Seen | None, now: float) -> dict[str, typing.Any]:
    """Return state, pid and detail of a container that the engine describes so, at a time in seconds since 1970.

    One that was started again counts as failing until it has run for a while, so that a loop of crashes is none that runs now and then.
    One that has ended is ``stopped`` while the engine might start it by itself, and ``absent`` otherwise.
    """
    if seen is None:
        return {"state": "absent", "pid": None, "detail": ""}
    found, restarts = seen["State"], int(seen.get("RestartCount") or 0)
    status, young = found["Status"], restarts > 0 and now - _time(found.get("StartedAt", "")) < STEADY_SECONDS
    if status == "running":
        state = "failing" if young else "running"
    elif status in ("restarting", "paused"):
        state = "failing"
    else:
        state = "absent" if _policy(seen) == "no" else "stopped"
    return {
        "state": state,
        "pid": found.get("Pid") or None,
        "detail": _detail(found, restarts if state == "failing" else 0),
    }


def _detail(found: Seen, restarts: int) -> str:
    words = ["paused"] if found["Status"] == "paused" else []
    if found["Status"] not in ("running", "paused", "created"):
        words += ["killed, because its memory ran out"] if found.get("OOMKilled") else []
        words += [f"exit status {found['ExitCode']}"] if found.get("ExitCode") else []
        words += [found["Error"]] if found.get("Error") else []
    words += [f"restarted {restarts} time{'' if restarts == 1 else 's'}"] if restarts else []
    return f"({', '.join(words)})" if words else ""


def _time(written: str) -> float:
    """Return a time of the engine, such as 2026-11-26T22:00:00.123456789Z, in seconds since 1970; 0 for none."""
    try:
        return float(calendar.timegm(time.strptime(written[:19], "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return 0.0


def _policy(seen: Seen) -> str:
    return str((seen["HostConfig"].get("RestartPolicy") or {}).get("Name") or "no")


def _put_in(text: str, launch: Launch) -> str:
    return text.replace("{version}", launch.version).replace("{slot}", launch.slot)


def _environment(directory: Path) -> dict[str, str]:
    """Return what both environment files of a slot hold; the secrets win, as they do elsewhere."""
    found: dict[str, str] = {}
    for name in ("env", "secrets.env"):
        found.update(envfile.parse(read_text(directory / name) or "", source=str(directory / name)))
    return found


def _beside(slot: Container, launch: Launch) -> Container:
    """Return the container of a singleton beside that of its slot: nobody connects to it, so that nothing is published."""
    return replace(
        slot,
        address="",
        port=0,
        command=launch.command,
        stop_seconds=launch.stop_seconds,
        labels={**slot.labels, SINGLETON: launch.singleton},
    )


def _options(wanted: Container) -> tuple[dict[str, typing.Any], dict[str, typing.Any]]:
    """Return the options of the engine's library for the container: of its host, and its own."""
    # As mounts: what is missing on the host is refused, where binds would have the engine make it.
    mounts = [
        {"Type": "bind", "Source": one.source, "Target": one.target, "ReadOnly": one.read_only} for one in wanted.binds
    ]
    host: dict[str, typing.Any] = {
        "cap_drop": list(wanted.cap_drop) or None,
        "init": wanted.init or None,
        "mem_limit": wanted.memory or None,
        "mounts": mounts or None,
        "port_bindings": {wanted.target: (wanted.address, wanted.port)} if wanted.port else None,
        "read_only": wanted.read_only,
        # A slot's until it is kept: see above.
        "restart_policy": {"Name": wanted.restart if SINGLETON in wanted.labels else "no"},
        "security_opt": list(wanted.security_opt) or None,
        "tmpfs": list(wanted.tmpfs) or None,
    }
    config: dict[str, typing.Any] = {
        "command": list(wanted.command) or None,
        "entrypoint": list(wanted.entrypoint) or None,
        "labels": dict(wanted.labels),
        "ports": [wanted.target] if wanted.port else None,
        "stop_timeout": wanted.stop_seconds,
        "user": wanted.user or None,
        "working_dir": wanted.working_dir or None,
    }
    return host, config


def _refuse_unfit(address: str) -> None:
    """Refuse an address at which this host cannot listen."""
    try:
        family = socket.AF_INET6 if ":" in str(ipaddress.ip_address(address)) else socket.AF_INET
        with socket.socket(family) as probe:
            probe.bind((address, 0))
    except (ValueError, OSError) as error:
        said = str(getattr(error, "strerror", None) or "no IP address")
    else:
        return
    raise BatonError(
        found=f"docker_address {address!r}: {said}",
        expected="an IP address of this host, at which the load balancers reach it",
        fix="set app_docker_address (by default it is app_address) to the one of this host; nothing was touched",
    )
