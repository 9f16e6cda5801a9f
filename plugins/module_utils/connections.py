# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The TCP connections that a process of this host, and its siblings of the same user, have to servers, as Linux lists them."""

from __future__ import annotations

import contextlib
import socket
import struct
import typing
from pathlib import Path

__all__ = ["open_connections"]

_PROC = Path("/proc")
_OPEN = {"01", "02"}
"""Established, and about to be. In all later states one side has said that it has no more to say."""
_REMOTE, _STATE, _USER = 2, 3, 7
_MAPPED = b"\0" * 10 + b"\xff\xff"

Address = typing.Tuple[bytes, int]  # noqa: UP006 - evaluated on Python 3.9 too


def open_connections(pid: int, name: str, servers: typing.Iterable[str]) -> dict[str, int] | None:
    """Return for each of ``servers`` the number of open connections to it, of all processes of that process's user.

    Args:
        pid: a process; what counts is the network that it sees.
        name: what its program is called.
        servers: ``host:port`` each.

    Returns:
        None when this host shows no such process, so that nothing is known.
    """
    try:
        status = dict(
            line.split(":", 1) for line in (_PROC / str(pid) / "status").read_text().splitlines() if ":" in line
        )
        if status["Name"].strip() != name:
            return None
        user = status["Uid"].split()[1]
        rows = [row for table in ("tcp", "tcp6") for row in _rows(_PROC / str(pid) / "net" / table)]
    except (OSError, LookupError, ValueError):
        return None
    server_at = {address: server for server in servers for address in _addresses(server)}
    counts = dict.fromkeys(server_at.values(), 0)
    for row in rows:
        server = server_at.get(_address(row[_REMOTE])) if row[_STATE] in _OPEN and row[_USER] == user else None
        if server is not None:
            counts[server] += 1
    return counts


def _rows(table: Path) -> list[list[str]]:
    """Return the rows of open connections, in words. Where there are many requests, tens of thousands of others are closed already."""
    marks = [f" {state} " for state in sorted(_OPEN)]
    try:
        with table.open() as lines:
            found = [line.split() for line in lines if any(mark in line for mark in marks)]
    except FileNotFoundError:  # a host without IPv6
        return []
    return [words for words in found if len(words) > _USER]


def _addresses(server: str) -> typing.Iterator[Address]:
    host, _colon, port = server.rpartition(":")
    with contextlib.suppress(OSError):
        for _family, _type, _protocol, _name, found in socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM
        ):
            packed = socket.inet_pton(socket.AF_INET6 if ":" in str(found[0]) else socket.AF_INET, str(found[0]))
            yield packed, int(port)


def _address(text: str) -> Address:
    """Return an address that the kernel writes as 32-bit numbers of its own byte order, an IPv4 address in IPv6 as what it is."""
    digits, _colon, port = text.partition(":")
    packed = b"".join(struct.pack("=I", int(digits[at : at + 8], 16)) for at in range(0, len(digits), 8))
    return packed.removeprefix(_MAPPED) if len(packed) > len(_MAPPED) else packed, int(port, 16)
