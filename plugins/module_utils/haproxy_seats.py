# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The seats of a HAProxy as it is told them, and as it begins with them: the admin states of the servers ``<host>_<slot>_<port>``."""

from __future__ import annotations

import typing

__all__ = ["flags_of", "with_seats", "with_states"]

_DRAINED = 8


def flags_of(name: str, seats: typing.Mapping[str, str]) -> int:
    """Return the flags that the server of a seat is to have."""
    host, slot, _port = name.rsplit("_", 2)
    return 0 if seats.get(host) == slot else _DRAINED


def with_states(answer: str, flags: typing.Mapping[str, int], *, check_state: int = 0) -> str:
    """Return a server-state-file with a line for each server of ``flags``, of which HAProxy told in ``answer``.

    It holds no addresses: HAProxy would believe them rather than its configuration. It believes the port in any case, which is why the
    servers are named with theirs: a line for another port is of no server.
    """
    rows = [line.split() for line in answer.splitlines()]
    lines = ["1", *(line for line in answer.splitlines() if line.startswith("# be_id"))]
    lines += [
        f"{' '.join(words[:4])} - 2 {flags[words[3]]} {words[7]} {words[8]} 0 1 0 1 {check_state} 0 0 0 - {words[18]} - 0 0 - - 0"
        for words in rows
        if len(words) > 1 and words[0].isdigit() and words[3] in flags
    ]
    return "\n".join(lines) + "\n"


def with_seats(answer: str, seats: typing.Mapping[str, str]) -> str:
    """Return a server-state-file with these seats."""
    rows = [line.split() for line in answer.splitlines()]
    names = [words[3] for words in rows if len(words) > 1 and words[0].isdigit()]
    return with_states(answer, {name: flags_of(name, seats) for name in names})
