# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Choose what an embedded environment chooses once and then keeps: directories, ports and passwords.

``prepare.py ROOT --name shop --app app1 app2 --lb lb1 --db db1`` writes ``ROOT/ports.json`` and ``ROOT/secrets.json``
(0600), adds only what is missing in them, and makes ``ROOT/hosts/*``. Prints one line for each file that it wrote.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import secrets
import socket
import sys
import tempfile
import typing
import urllib.parse
from pathlib import Path

PORT_NAMES: dict[str, tuple[str, ...]] = {
    "app": ("supervisor", "blue", "green"),
    "lb": ("supervisor", "public", "admin", "preview_blue", "preview_green"),
    "db": ("supervisor", "postgres"),
}
RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST_UNPRIVILEGED = 1024
SEARCHED = 20_000
"""How many ports below the ephemeral range are considered: enough that environments on one machine rarely meet."""


def main() -> None:
    """Write what is missing, or say on stderr what stands in the way."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--name", required=True, help="name of the app, its database and its database user")
    for group in PORT_NAMES:
        parser.add_argument(f"--{group}", nargs="*", default=[], metavar="HOST")
    arguments = parser.parse_args()
    root: Path = arguments.root
    # One rule instead of many ways of quoting: the path goes into URLs and the settings of supervisord and Caddy.
    if not re.fullmatch(r"/[\w./+@=-]+", str(root), re.ASCII):
        sys.exit(
            f"Found: {root}. Expected: an absolute path of letters, digits and ./+@=_- only. "
            "To do: set BATON_LOCAL_ROOT to such a directory."
        )
    os.umask(0o077)
    for host in [*arguments.app, *arguments.lb, *arguments.db]:
        (root / "hosts" / host).mkdir(parents=True, exist_ok=True)
    ports = choose_ports(
        _read(root / "ports.json"),
        {host: names for group, names in PORT_NAMES.items() for host in getattr(arguments, group)},
    )
    _keep(root / "ports.json", ports)
    database_port = next((ports[host]["postgres"] for host in arguments.db), None)
    if database_port is not None:
        _keep(
            root / "secrets.json", choose_secrets(_read(root / "secrets.json"), name=arguments.name, port=database_port)
        )


def choose_ports(
    known: dict[str, typing.Any], wanted: typing.Mapping[str, typing.Iterable[str]]
) -> dict[str, typing.Any]:
    """Return ``{host: {name: port}}`` with every wanted port, the known ones unchanged."""
    taken = {port for names in known.values() for port in names.values()}
    candidates = (port for port in _candidates() if port not in taken and _is_free(port))
    return known | {
        host: {name: known.get(host, {}).get(name) or _next(candidates) for name in names}
        for host, names in wanted.items()
    }


def choose_secrets(known: dict[str, typing.Any], *, name: str, port: int) -> dict[str, typing.Any]:
    """Return the known secrets with those of the database; a known password is kept when the port is another one."""
    old = urllib.parse.urlsplit(known.get("DATABASE_URL", ""))
    password = old.password or secrets.token_urlsafe(24)
    return {
        "POSTGRES_PASSWORD": secrets.token_urlsafe(24),
        **known,
        "DATABASE_URL": f"postgresql+psycopg://{name}:{password}@127.0.0.1:{port}/{name}",
    }


def _candidates() -> typing.Iterator[int]:
    """Yield the ports below the kernel's ephemeral range, from a random one on.

    From the ephemeral range the kernel takes the port of every outgoing connection. An idle slot listens nowhere, so
    any client on this machine could be given the slot's port from that range, and then the slot could not start.
    """
    try:
        end = int(RANGE_FILE.read_text(encoding="ascii").split()[0])
    except FileNotFoundError:
        end = 32_768
    start = max(FIRST_UNPRIVILEGED, end - SEARCHED)
    if end - start < len(PORT_NAMES) * 10:
        sys.exit(
            f"Found: ephemeral ports from {end} on ({RANGE_FILE}). Expected: room below them for this environment. "
            "To do: raise net.ipv4.ip_local_port_range, for example to '32768 60999'."
        )
    offset = random.randrange(end - start)  # noqa: S311 - spreads environments over the ports, protects nothing
    yield from range(start + offset, end)
    yield from range(start, start + offset)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _next(candidates: typing.Iterator[int]) -> int:
    port = next(candidates, None)
    if port is None:
        sys.exit(
            "Found: no free port on 127.0.0.1 below the ephemeral range. Expected: a few. To do: stop what uses them."
        )
    return port


def _read(path: Path) -> dict[str, typing.Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        value = None
    if not isinstance(value, dict):
        sys.exit(
            f"Found: {path} holds no JSON object. Expected: the file as it was written. To do: repair or remove it."
        )
    return value


def _keep(path: Path, value: dict[str, typing.Any]) -> None:
    """Replace ``path`` in one rename, readable for its owner only, when ``value`` is not what it holds."""
    if _read(path) == value:
        return
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(value, stream, indent=2)
    Path(temporary).replace(path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
