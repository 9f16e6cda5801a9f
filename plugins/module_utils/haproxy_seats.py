# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The seats of a HAProxy as it is told them, and as it begins with them: the admin states of the servers ``<host>_<slot>_<port>``."""

from __future__ import annotations

import typing

__all__ = ["flags_of", "with_seats"]

_DRAINED = 8


def flags_of(name: str, seats: typing.Mapping[str, str]) -> int:
    """Return the flags that the server of a seat is to have."""
    host, slot, _port = name.rsplit("_", 2)
    return 0 if seats.get(host) == slot else _DRAINED


def with_seats(states: str, seats: typing.Mapping[str, str]) -> str:
    """Return a server-state-file with these seats.

    It holds no addresses: HAProxy would believe them rather than its configuration. It believes the port in any case, which is why the
    servers are named with theirs: a line for another port is of no server.
    """
    lines = ["1", *(line for line in states.splitlines() if line.startswith("# be_id"))]
    for words in map(str.split, states.splitlines()):
        if len(words) > 1 and words[0].isdigit():
            backend, name, port = words[:2], words[3], words[18]
            flags = str(flags_of(name, seats))
            weights = f"{words[7]} {words[8]}"
            lines.append(
                f"{' '.join(backend)} {words[2]} {name} - 2 {flags} {weights} 0 1 0 1 0 0 0 0 - {port} - 0 0 - - 0"
            )
    return "\n".join(lines) + "\n"
