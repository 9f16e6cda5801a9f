"""The keys of a fleet: one that logs in, one that each host is known by, and the passwords of its servers."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterable
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.files import read_json, write_atomically, write_json

from tests.fleet.shape import Host

PRIVATE = 0o600


def make(path: Path) -> None:
    """Make a key for ssh at ``path``, and its public half beside it, where it is missing."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def know(known: Path, directory: Path, hosts: Iterable[Host]) -> None:
    """Make a key for every host in ``directory``, and write the file ``known`` by which ssh recognises the hosts."""
    lines = []
    for host in hosts:
        make(directory / host.name)
        kind, public, *_ = (directory / f"{host.name}.pub").read_text().split()
        lines.append(f"{host.name},{host.address} {kind} {public}\n")
    write_atomically(known, "".join(lines), mode=PRIVATE)


def passwords(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Return a random password for each name: those in the file ``path``, which only its owner can read."""
    known = read_json(path) or {}
    given = {name: str(known.get(name) or secrets.token_hex(16)) for name in names}
    write_json(path, given, mode=PRIVATE)
    return given
