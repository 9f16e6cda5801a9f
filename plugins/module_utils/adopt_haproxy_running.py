# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a HAProxy runs with, as it says itself: its newest worker's backends and servers, frontends, maps and rings, and its files."""

from __future__ import annotations

import csv
import os
import socket
import typing
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.haproxy_config import Section
from ansible_collections.baton.release.plugins.module_utils.haproxy_socket import Runtime
from ansible_collections.baton.release.plugins.module_utils.haproxy_view import Server, servers

__all__ = ["Running", "differences", "running"]


@dataclass(frozen=True)
class Running:
    """The newest worker of a HAProxy."""

    version: str
    level: str
    """Of the socket: admin, operator or user."""
    backends: typing.Mapping[str, typing.Mapping[str, Server]]
    frontends: frozenset[str]
    maps: str
    rings: frozenset[str]
    files: tuple[Path, ...]
    """What it was started with; empty where that cannot be seen."""


def running(admin: Path) -> Running:
    """Ask the HAProxy at a socket.

    Raises:
        SilentError: nobody answers there.
        BatonError: this user may not use the socket.
        ValueError: what answers is no HAProxy.
    """
    runtime = Runtime(admin)
    worker = runtime.workers()[0]
    information = dict(line.split(": ", 1) for line in runtime.ask(worker, "show info").splitlines() if ": " in line)
    if "Version" not in information:
        raise ValueError("it does not say its version")
    statistics = runtime.ask(worker, "show stat")
    rows = [row for row in csv.DictReader(statistics.strip().splitlines()) if row.get("svname") == "FRONTEND"]
    pid = information.get("Pid", "")
    return Running(
        version=information.get("Version", ""),
        level=runtime.ask(worker, "show cli level").strip(),
        backends=servers(runtime.ask(worker, "show servers state"), statistics),
        frontends=frozenset(row["# pxname"] for row in rows),
        maps=runtime.ask(worker, "show map"),
        rings=frozenset(
            words[0] for words in map(str.split, runtime.ask(worker, "show events").splitlines()[1:]) if words
        ),
        files=_files(pid) if pid.isdigit() else (),
    )


def differences(needed: typing.Sequence[Section], seen: Running, map_file: Path) -> typing.Iterator[str]:
    """Say what of the needed sections does not run, a sentence each."""
    if f"({map_file})" not in seen.maps:
        yield f"it looks nothing up in {map_file}"
    for section in needed:
        if section.keyword == "ring" and section.name not in seen.rings:
            yield f"there is no ring {section.name}"
        if section.keyword == "frontend" and section.name not in seen.frontends:
            yield f"there is no frontend {section.name}"
        wanted = {values[0]: values[1] for values in section.values("server")}
        if section.keyword != "backend" or not wanted:
            continue
        have = seen.backends.get(section.name, {})
        if not have:
            yield f"there is no backend {section.name}"
            continue
        yield from (f"{section.name} has no server {name}" for name in wanted if name not in have)
        yield from (f"{section.name} has a server {name} more" for name in have if name not in wanted)
        for name, address in wanted.items():
            if name in have and not _same_address(address, have[name].address):
                yield f"{section.name}/{name} is at {have[name].address}, not at {address}"


def refuse_level(level: str, admin: Path) -> None:
    """Refuse a socket that may not change servers.

    Raises:
        BatonError: it is one.
    """
    if level != "admin":
        raise BatonError(
            found=f"the socket {admin} is of level {level or 'unknown'}",
            expected="level admin",
            fix="give its line 'stats socket' the words 'level admin', and reload HAProxy",
        )


def _same_address(wanted: str, have: str) -> bool:
    (host, _colon, port), (seen, _other, at) = wanted.rpartition(":"), have.rpartition(":")
    if port != at:
        return False
    if host == seen:
        return True
    try:
        found = {str(one[4][0]) for one in socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)}
    except (OSError, ValueError):
        return False
    return seen.strip("[]") in found


def _files(pid: str) -> tuple[Path, ...]:
    """Return the files of a process's configuration, as its command names them: ``-f`` takes a file, or a directory of ``*.cfg``."""
    try:
        words = [os.fsdecode(word) for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]]
        given = [words[index + 1] for index, word in enumerate(words[:-1]) if word == "-f"]
        # A relative one; only the owner of the process may see where it stands.
        here = Path(f"/proc/{pid}/cwd").resolve() if any(not one.startswith("/") for one in given) else Path("/")
    except OSError:
        return ()
    if "haproxy" not in Path(words[0] if words else "").name:
        return ()  # another process of this number: HAProxy runs in a container of its own
    files: list[Path] = []
    for path in (here / one for one in given):
        files += sorted(path.glob("*.cfg")) if path.is_dir() else [path]
    return tuple(files)
