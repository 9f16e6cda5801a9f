"""The docker engine that the fleet needs: found, or installed and started, on Debian and as root.

Whatever needs the engine asks :func:`unavailable` first, the only place that decides.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import locked, read_json, write_json

from tests import packages
from tests.fleet.docker import attempt, docker

HOME = Path(__file__).resolve().parents[2] / ".cache" / "engine"
LOG, RECORD = HOME / "dockerd.log", HOME / "dockerd.json"
PACKAGES = {"dockerd": "docker.io", "iptables": "iptables"}
"""What is installed where it is missing: each program with its package."""
ASKING, STARTING, STOPPING = 20.0, 60.0, 30.0  # seconds

Say = Callable[[str], None]


def answers() -> bool:
    """Return whether an engine answers."""
    try:
        return attempt("version", "--format", "{{.Server.Version}}", seconds=ASKING).returncode == 0
    except BatonError:
        return False


def unavailable() -> str:
    """Return why there can be no engine here, or nothing where there is one or one can be started."""
    if answers():
        return ""
    if os.environ.get("DOCKER_HOST"):
        return f"the docker engine at DOCKER_HOST={os.environ['DOCKER_HOST']} does not answer"
    if not packages.family() & packages.FAMILY:
        return "no docker engine answers, and one is installed only on Debian and what is made of it"
    if os.geteuid() != 0:
        return "no docker engine answers, and only root can install and start one"
    return ""


def ensure(say: Say) -> None:
    """See to it that an engine answers.

    Raises:
        BatonError: there can be none here, or it does not start.
    """
    with locked(HOME / "lock"):
        if reason := unavailable():
            raise BatonError(
                found=reason,
                expected="a docker engine, or Debian and root to start one",
                fix="start a docker engine that this user may use, or run this as root on Debian",
            )
        if answers():
            return
        _install(say)
        _start(say)


def missing() -> list[str]:
    """Return the packages that are not installed."""
    return sorted({package for program, package in PACKAGES.items() if shutil.which(program) is None})


def _install(say: Say) -> None:
    if to_install := missing():
        say(f"Installing {', '.join(to_install)} with apt-get")
        packages.install(to_install)


def _start(say: Say) -> None:
    deadline = time.monotonic() + STARTING
    # Where systemd runs, the package has started the engine, or its owner has stopped it.
    if Path("/run/systemd/system").is_dir():
        while not answers():
            if time.monotonic() > deadline:
                raise BatonError(
                    found="docker.service does not answer", expected="an engine", fix="systemctl start docker"
                )
            time.sleep(0.5)
        return
    say(f"Starting dockerd, with its log in {LOG}")
    with LOG.open("ab") as log:
        daemon = subprocess.Popen(
            ["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    write_json(RECORD, {"pid": daemon.pid, "started": _started(daemon.pid)})
    while not answers():
        if daemon.poll() is not None or time.monotonic() > deadline:
            last = " ".join(LOG.read_text(errors="replace").splitlines()[-2:])
            stop()
            raise BatonError(
                found=f"dockerd does not start: {last}", expected="an engine that answers", fix=f"see {LOG}"
            )
        time.sleep(0.3)


def stop_idle() -> bool:
    """End the engine that :func:`ensure` started if there are no containers; return whether it did.

    Raises:
        BatonError: it does not end.
    """
    with locked(HOME / "lock"):
        return answers() and not docker("ps", "--all", "--quiet") and stop()


def stop() -> bool:
    """End the engine that :func:`ensure` started, and no other; return whether there was one.

    Raises:
        BatonError: it does not end.
    """
    record = read_json(RECORD)
    if record is None:
        return False
    pid = int(record["pid"])
    # A pid is given away again; the time it started at is not.
    ours = bool(record["started"]) and _started(pid) == record["started"]
    if ours:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOPPING
        while _started(pid) == record["started"]:
            if time.monotonic() > deadline:
                raise BatonError(found=f"dockerd ({pid}) goes on after SIGTERM", expected="its end", fix=f"see {LOG}")
            time.sleep(0.2)
    RECORD.unlink()
    return ours


def _started(pid: int) -> str:
    """Return when a process started, in ticks since the machine did, or nothing where there is none that runs."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
