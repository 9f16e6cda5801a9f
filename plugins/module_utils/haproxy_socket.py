# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The runtime API of a HAProxy: commands to its workers through the master's socket, or to one worker through a stats socket.

A stats socket leads to the newest worker alone. After a reload the workers before it still serve the connections that they have, and
only the master's socket reaches them. There every command carries its worker's pid, also each of several joined by ``;``.
"""

from __future__ import annotations

import re
import socket
import time
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["Runtime", "SilentError", "Worker"]

RELOAD_SECONDS = 3.0
"""For a moment of every reload the master refuses connections, or ends them without an answer."""
_PAUSE_SECONDS = 0.05
_CHUNK = 1 << 18
_GONE = "Can't find the target PID"
_silent: set[Path] = set()
"""Sockets at which nobody has answered for all of that time. They are dead, and not waited for again until somebody does: a look at a
balancer asks several times."""


class SilentError(Exception):
    """Nobody answers at the socket, or not in time; or the worker that was asked is gone."""


class Worker(typing.NamedTuple):
    """A process that serves requests; ``pid`` is 0 behind a stats socket, where there is only one to ask."""

    pid: int
    current: bool


class Runtime:
    """The commands of one HAProxy; ``timeout`` are seconds for one answer."""

    def __init__(self, path: Path, timeout: float = 5.0) -> None:
        """Take the path of the socket; nothing is asked yet."""
        self._path, self._timeout = path, timeout

    def workers(self) -> list[Worker]:
        """Return the workers that can be reached, the newest one first.

        Raises:
            SilentError: nobody answers.
            BatonError: the socket may not be used.
        """
        deadline = time.monotonic() + RELOAD_SECONDS
        while True:
            answer = self._answer("show proc")
            if not answer.startswith("#<PID>"):
                return [Worker(0, current=True)]
            lines = [line.split() for line in answer.splitlines()]
            # In the order of the reloads that each has lived through.
            found = sorted((int(words[2]), int(words[0])) for words in lines if words[1:2] == ["worker"])
            if found and (found[0][0] == 0 or time.monotonic() >= deadline):
                # Without a newer one, the latest reload has failed, and the youngest worker still listens.
                return [Worker(pid, current=number == 0) for number, (_reloads, pid) in enumerate(found)]
            if time.monotonic() >= deadline:
                raise SilentError(f"the master at {self._path} has no worker")
            time.sleep(_PAUSE_SECONDS)

    def ask(self, worker: Worker, *commands: str) -> str:
        """Return what ``worker`` answers to commands, which a stats socket hands to it in one piece.

        Raises:
            SilentError: it does not answer, or is gone.
            BatonError: the socket may not be used for this.
        """
        prefix = f"@!{worker.pid} " if worker.pid else ""
        answer = self._answer("; ".join(f"{prefix}{command}" for command in commands))
        if answer.startswith(_GONE):
            raise SilentError(f"the worker {worker.pid} is gone")
        if re.search("^Permission denied$", answer, re.MULTILINE):
            raise BatonError(
                found=f"{self._path} answers 'Permission denied' to {commands[0]!r}",
                expected="a socket of level admin",
                fix="give 'stats socket' the words 'level admin' (role haproxy), or name the master's socket in traffic_admin",
            )
        return answer

    def do(self, worker: Worker, *commands: str) -> None:
        """Have ``worker`` do what ``commands`` say; to what is done HAProxy answers nothing.

        Raises:
            SilentError: as ``ask``.
            BatonError: it answers something.
        """
        answer = self.ask(worker, *commands).strip()
        if answer:
            raise BatonError(
                found=f"HAProxy answers {answer[:200]!r} to {'; '.join(commands)!r}",
                expected="no answer, which means that it is done",
                fix="bring its configuration up to date (role haproxy), then run again",
            )

    def _answer(self, line: str) -> str:
        deadline = time.monotonic() + (0 if self._path in _silent else RELOAD_SECONDS)
        while True:
            try:
                answer = self._exchange(line)
            except (ConnectionError, BlockingIOError) as error:
                reason = f"{self._path}: {error}"
            except PermissionError:
                raise BatonError(
                    found=f"the socket {self._path} may not be used by this user",
                    expected="its owner, a member of its group, or root",
                    fix="set become for the hosts of the group lb, or the socket's user, group and mode",
                ) from None
            except OSError as error:  # it is not there, or answers too late
                raise SilentError(f"{self._path}: {error.strerror or error}") from error
            else:
                if answer:
                    _silent.discard(self._path)
                    return answer
                reason = f"{self._path} was closed without an answer"
            if time.monotonic() >= deadline:
                _silent.add(self._path)
                raise SilentError(reason)
            time.sleep(_PAUSE_SECONDS)

    def _exchange(self, line: str) -> str:
        deadline = time.monotonic() + self._timeout
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(self._timeout)
            connection.connect(str(self._path))
            connection.sendall(f"{line}\n".encode())
            # Without this the master keeps the connection open after its answer.
            connection.shutdown(socket.SHUT_WR)
            parts: list[bytes] = []
            while True:
                connection.settimeout(max(deadline - time.monotonic(), 0.001))
                part = connection.recv(_CHUNK)
                if not part:
                    return b"".join(parts).decode("utf-8", "replace")
                parts.append(part)
