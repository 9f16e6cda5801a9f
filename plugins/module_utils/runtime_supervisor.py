# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The runtime driver for supervisord: one program a slot, in a file of its own.

supervisord is asked through its XML-RPC interface, whose address and credentials are read from the ``[supervisorctl]`` section of
its own configuration, as supervisorctl does. ``update`` is avoided: it would restart every program whose file has changed.
(supervisor 4.3, http://supervisord.org/api.html)
"""

from __future__ import annotations

import base64
import configparser
import http.client
import os
import platform
import socket
import time
import typing
import urllib.parse
import xmlrpc.client
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import read_text, write_atomically
from ansible_collections.baton.release.plugins.module_utils.launch import Launch, run_script

__all__ = ["Supervisor"]

BAD_NAME = 10
NOT_RUNNING = 70
RPC_TIMEOUT_SECONDS = 10.0
POLL_SECONDS = 0.05
LOG_LINES = 15

UNIT = """\
; Written by baton.release.app_slot.
[program:{name}]
command={command}
directory={directory}
autostart=true
autorestart=true
startsecs=1
startretries=3
stopsignal=TERM
stopwaitsecs={stop_seconds}
killasgroup=true
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
"""


class Supervisor:
    """The supervisord that ``config`` belongs to."""

    program = "run"
    read_by_others = False

    def __init__(self, config: str | Path) -> None:
        """Read where supervisord listens and where its program files belong.

        Raises:
            BatonError: the configuration is missing, or lacks what is needed.
        """
        self.config = Path(config)
        parser = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
        try:
            parser.read_string(self.config.read_text(encoding="utf-8"))
            control = parser["supervisorctl"]
            self.url = self._expand(control["serverurl"])
            self.credentials = (self._expand(control.get("username", "")), self._expand(control.get("password", "")))
            pattern = self._expand(parser["include"]["files"].split()[0])
        except (OSError, LookupError, ValueError, TypeError, configparser.Error) as error:
            raise BatonError(
                found=f"{self.config} cannot be used: {error}",
                expected="supervisord's configuration, with serverurl in [supervisorctl] and files in [include]",
                fix="correct app_supervisor_config, or the file",
            ) from error
        self.programs = self.config.parent / Path(pattern).parent

    def _expand(self, value: str) -> str:
        """Expand a value as supervisord does: %(here)s, %(ENV_NAME)s, and %% for a percent sign."""
        known = {f"ENV_{name}": text for name, text in os.environ.items()}
        return value % {**known, "here": str(self.config.parent), "host_node_name": platform.node()}

    def describe(self, launch: Launch, *, check_mode: bool) -> str:
        """Return the script that runs ``launch``; it reads the environment files itself."""
        del check_mode
        return run_script(launch, sources=True)

    def unit(self, app_name: str, slot: str) -> str:
        """Return the name of the program of a slot."""
        return f"{app_name}-{slot}"

    def singleton(self, app_name: str, slot: str, name: str) -> str:
        """Return the name of the program of a singleton."""
        return f"{app_name}-{slot}-{name}"

    def refuse_unfit(self, name: str, command: Path, *, beside: Path) -> None:
        """Refuse nothing: whatever supervisord starts is described by a file that is written then."""

    def state(self, name: str) -> dict[str, typing.Any]:
        """Return ``{"state": running|starting|failing|stopped|absent, "pid": int|None, "detail": str}`` of the program ``name``."""
        info = self._call("supervisor.getProcessInfo", name, missing=None)
        if info is None:
            return {"state": "absent", "pid": None, "detail": ""}
        words = {"RUNNING": "running", "STARTING": "starting", "BACKOFF": "failing", "FATAL": "failing"}
        detail = info["spawnerr"] or (f"exit status {info['exitstatus']}" if info["exitstatus"] else "")
        return {"state": words.get(info["statename"], "stopped"), "pid": info["pid"] or None, "detail": detail}

    def start(self, name: str, *, command: Path, directory: Path, log: Path, stop_seconds: int) -> None:
        """Start the program ``name`` from scratch: it stops first if it runs."""
        self.stop(name)
        unit = UNIT.format(
            name=name,
            # supervisord expands %(...)s in values.
            command=_escape(command),
            directory=_escape(directory),
            log=_escape(log),
            stop_seconds=stop_seconds,
        )
        log.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._file(name), unit)
        self._call("supervisor.reloadConfig")
        self._call("supervisor.addProcessGroup", name)

    def stop(self, name: str) -> bool:
        """Stop the program ``name`` and forget it; say whether it was known. Waits until its process has ended."""
        known = bool(self.state(name)["state"] != "absent")
        if known:
            self._call("supervisor.stopProcessGroup", name, False, missing=None)
            self._await_end(name)
        if self._file(name).exists():
            self._file(name).unlink()
            self._call("supervisor.reloadConfig")
        if known:
            self._call("supervisor.removeProcessGroup", name, missing=None)
        return known

    def discard(self, name: str, *, check_mode: bool) -> bool:
        """Do nothing: to stop a program is to remove its file."""
        del name, check_mode
        return False

    def keep(self, name: str, *, check_mode: bool) -> bool:
        """Change nothing: supervisord starts, when it starts itself, every program that was started and not stopped since."""
        del name, check_mode
        return False

    def forget(self, name: str, *, check_mode: bool) -> bool:
        """Change nothing, as ``keep`` does: to stop a program is to forget it."""
        del name, check_mode
        return False

    def commands_to_retire(self, name: str, timer: str) -> tuple[list[str], list[str]]:
        """Return none: supervisord has no timers, so the next run sweeps."""
        del name, timer
        return [], []

    def schedule(self, timer: str, command: typing.Sequence[str], seconds: int) -> None:
        """Do nothing, for the same reason."""

    def unschedule(self, timer: str) -> None:
        """Do nothing, for the same reason."""

    def log_end(self, name: str, *, log: Path) -> tuple[str, str]:
        """Return the log of the program, and its last lines; none when there is no log."""
        del name
        return str(log), "\n".join((read_text(log) or "").splitlines()[-LOG_LINES:])

    def _await_end(self, name: str) -> None:
        """Wait until no process of ``name`` is left; supervisord itself kills one that does not end in time.

        Asked to wait, supervisord would look once a second; each question makes it look at once.
        """
        while self.state(name)["pid"]:
            time.sleep(POLL_SECONDS)

    def _file(self, name: str) -> Path:
        return self.programs / f"{name}.conf"

    def _call(self, method: str, *arguments: typing.Any, **default: typing.Any) -> typing.Any:
        """Call supervisord; a program that it does not know gives ``default["missing"]`` where that is given."""
        try:
            return self._request(method, arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in (BAD_NAME, NOT_RUNNING) and default:
                return default["missing"]
            raise BatonError(
                found=f"supervisord answered {method}{arguments!r} with {fault.faultString}",
                expected="that it obeys",
                fix=f"look at supervisord's log; supervisorctl -c {self.config} status shows its programs",
            ) from fault
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            raise BatonError(
                found=f"supervisord at {self.url} does not answer: {error}",
                expected="a running supervisord with the configuration " + str(self.config),
                fix="start it on this host, and run again",
            ) from error

    def _request(self, method: str, arguments: tuple[typing.Any, ...]) -> typing.Any:
        body = xmlrpc.client.dumps(arguments, method)
        basic = base64.b64encode(":".join(self.credentials).encode()).decode()
        connection = _connect(self.url, timeout=RPC_TIMEOUT_SECONDS)
        try:
            connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml", "Authorization": f"Basic {basic}"})
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise OSError(f"HTTP status {response.status} {response.reason}")
        values, _method = xmlrpc.client.loads(text.decode())
        return values[0]


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a UNIX socket, supervisord's usual address."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def _connect(url: str, *, timeout: float) -> http.client.HTTPConnection:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "unix":
        return _UnixConnection(parts.path, timeout)
    return http.client.HTTPConnection(parts.hostname or "", parts.port or 9001, timeout=timeout)


def _escape(path: Path) -> str:
    return str(path).replace("%", "%%")
