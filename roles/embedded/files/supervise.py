# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Start and stop the supervisord of one embedded host, and one program under it.

``supervise.py CONFIG start``          write the configuration (from stdin), start supervisord unless it runs
``supervise.py CONFIG program NAME``   write the program's configuration (from stdin), bring that one program to it
``supervise.py CONFIG stop``           stop supervisord with all its programs and wait until it is gone

CONFIG is the host's supervisord.conf. Prints one line for each change, nothing when there was nothing to do.
"""

from __future__ import annotations

import configparser
import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import typing
import xml.parsers.expat
import xmlrpc.client
from pathlib import Path

PASSWORD_MARK = "@password@"  # noqa: S105 - what stands in the template instead of the password
ANSWER_SECONDS = 5.0
STOP_SECONDS = 45.0
"""Longer than the longest stopwaitsecs of a program, after which supervisord kills it."""
PROGRAM_SECONDS = 40.0
"""Longer than that stopwaitsecs, and than all attempts of supervisord to start a program."""
POLL_SECONDS = 0.05
LOG_TAIL_BYTES = 2000
COMING = {"STARTING", "BACKOFF", "STOPPING"}
IF_TAKEN = "To do: if another program has taken the port, remove ports.json; the next run chooses others."


def main() -> None:
    """Do what the command line says."""
    os.umask(0o077)
    socket.setdefaulttimeout(ANSWER_SECONDS)
    config, verb, *names = sys.argv[1:]
    host = Host(Path(config))
    if verb == "start":
        host.start(sys.stdin.read())
    elif verb == "program":
        host.program(names[0], sys.stdin.read())
    elif verb == "stop":
        host.stop()
    else:
        sys.exit(__doc__)


class Host:
    """The supervisord that belongs to one configuration file."""

    def __init__(self, config: Path) -> None:
        """Take the path of the configuration; a file that is not there yet belongs to a host that never ran."""
        self.config = config
        self.api = self._connect()

    def start(self, text: str) -> None:
        """Write the configuration and start supervisord, unless one runs that answers to it."""
        password = self._settings().get("password") or secrets.token_urlsafe(24)
        _keep(self.config, text.replace(PASSWORD_MARK, password))
        (self.config.parent / "conf.d").mkdir(exist_ok=True)
        self.api = self._connect()
        if self._answers():
            return
        self.stop()
        # A host has its own environment: nothing of the caller's shell, its tokens for example, reaches the programs.
        clean = {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(self.config.parent.parent)}
        supervisord = Path(sys.executable).with_name("supervisord")
        done = subprocess.run(
            [supervisord, "-c", self.config],
            env=clean,
            cwd="/",
            text=True,
            capture_output=True,
            timeout=30,
            check=False,
        )
        if done.returncode or not self._answers():
            sys.exit(f"Found: supervisord did not start with {self.config}: {done.stdout}{done.stderr}{IF_TAKEN}")
        print(f"started {self.config}")

    def program(self, name: str, text: str) -> None:
        """Write the program's file, bring the program to it, and wait until it runs; no other program is touched."""
        _keep(self.config.parent / "conf.d" / f"{name}.conf", text)
        added, changed, _removed = self.api.reloadConfig()[0]
        if name in changed:
            self.api.stopProcessGroup(name, False)
            self._await_change(name, COMING | {"RUNNING"})
            self.api.removeProcessGroup(name)
        if name in (*added, *changed):
            self.api.addProcessGroup(name)
            print(f"activated {name}")
        elif self._state(name) not in COMING | {"RUNNING"}:
            self.api.startProcess(name, False)
            print(f"started {name}")
        # A program of a new group is STOPPED until supervisord comes to start it.
        state = self._await_change(name, COMING | {"STOPPED"})
        if state != "RUNNING":
            log = self.config.parent / f"{name}.log"
            tail = self.api.tailProcessStdoutLog(name, 0, LOG_TAIL_BYTES)[0]
            sys.exit(f"Found: {name} is {state}. Expected: RUNNING. {IF_TAKEN} The end of its log {log}:\n{tail}")

    def stop(self) -> None:
        """Stop supervisord with all its programs and wait until it is gone."""
        pid = self._pid()
        if pid is None:
            return
        if self._answers() == pid:
            self.api.shutdown()
        else:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self._pid() == pid:
            if time.monotonic() > deadline:
                sys.exit(
                    f"Found: supervisord {pid} runs {STOP_SECONDS:.0f} s after it was told to stop. Expected: its end. "
                    f"To do: see {self.config.parent}/supervisord.log."
                )
            time.sleep(POLL_SECONDS)
        print(f"stopped {self.config}")

    def _settings(self) -> typing.Mapping[str, str]:
        parser = configparser.RawConfigParser()
        parser.read(self.config)
        return parser["inet_http_server"] if parser.has_section("inet_http_server") else {}

    def _connect(self) -> typing.Any:
        settings = self._settings()
        login = f"{settings.get('username')}:{settings.get('password')}"
        return xmlrpc.client.ServerProxy(f"http://{login}@{settings.get('port', '127.0.0.1:0')}/RPC2").supervisor

    def _await_change(self, name: str, states: typing.Container[str]) -> str:
        """Wait while the program is in one of the states; return its state after that, or the one it is stuck in."""
        deadline = time.monotonic() + PROGRAM_SECONDS
        while (state := self._state(name)) in states and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return state

    def _state(self, name: str) -> str:
        return str(self.api.getProcessInfo(name)["statename"])

    def _answers(self) -> int | None:
        """Return the pid of the supervisord that answers to this configuration's address and password, or None."""
        try:
            return int(self.api.getPID())
        except (OSError, http.client.HTTPException, xmlrpc.client.Error, xml.parsers.expat.ExpatError):
            return None  # nothing listens there, or something else does

    def _pid(self) -> int | None:
        """Return the pid of the supervisord that runs with this configuration file, or None.

        The kernel is asked, since the pidfile is gone when somebody removes the directory of a running host.
        """
        parents = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = [os.fsdecode(word) for word in (process / "cmdline").read_bytes().split(b"\0")]
                stat = (process / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            if words[-3:] == ["-c", str(self.config), ""] and any(Path(word).name == "supervisord" for word in words):
                parents[int(process.name)] = int(stat.rpartition(")")[2].split()[1])
        # A child that supervisord is just starting still has its parent's command line.
        return next((pid for pid, parent in parents.items() if parent not in parents), None)


def _keep(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, readable for its owner only, when that is not what it holds."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
    fresh.replace(path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
