# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A throw-away MariaDB server on 127.0.0.1, of the package of Debian, which root gets installed there."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import typing
from pathlib import Path

import pymysql
import pytest
from ansible_collections.baton.release.plugins.module_utils.files import locked

from tests import packages
from tests.postgres import free_port

__all__ = ["MariaServer", "maria_server"]

_STARTING = 30.0  # seconds
# What root finds here whatever its PATH.
_PLACES = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"


class MariaServer:
    """A running server; ``password`` is that of the user ``shop``, who may do everything."""

    def __init__(self, port: int, password: str, command: typing.Sequence[str], log: Path) -> None:
        """Remember where it listens, and how it is started."""
        self.port = port
        self.password = password
        self._command, self._log = command, log
        self._databases = 0

    def start(self) -> None:
        """Start it, also anew, and wait until it answers."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + _STARTING
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(pymysql.err.OperationalError):
                self.query("mysql", "SELECT 1")
                return
            time.sleep(0.05)
        raise RuntimeError(f"MariaDB did not start: {self._log.read_text(encoding='utf-8')}")

    def kill(self) -> None:
        """Kill it, as a power cut would."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def url(self, database: str = "mysql", *, password: str | None = None, driver: str = "") -> str:
        """Return the URL of ``database``; ``driver`` is SQLAlchemy's, such as ``+pymysql``."""
        return f"mysql{driver}://shop:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def create_database(self) -> str:
        """Create an empty database and return its name."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.query("mysql", f"CREATE DATABASE {name}")
        return name

    def connect(self, database: str) -> pymysql.Connection[pymysql.cursors.Cursor]:
        """Return a session."""
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user="shop", password=self.password, database=database, autocommit=True
        )

    def query(self, database: str, statement: str) -> list[tuple[typing.Any, ...]]:
        """Run one statement in a session of its own, and return its rows."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())


@contextlib.contextmanager
def maria_server(directory: Path, **more: object) -> typing.Iterator[MariaServer]:
    """Run a server with its data in ``directory`` as long as the body runs, or leave the test out; ``more`` settings have _ for -."""
    daemon, installer = _programs()
    data = directory / "data"
    small = ["--innodb-log-file-size=4M", "--innodb-buffer-pool-size=8M"]
    _run(installer, f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db", *small)
    port, password = free_port(), f"super-{secrets.token_hex(8)}"
    start = directory / "start.sql"
    user = f"CREATE USER IF NOT EXISTS shop@'%' IDENTIFIED BY '{password}';"
    start.write_text(f"{user}\nGRANT ALL ON *.* TO shop@'%';\n", encoding="utf-8")
    settings = {
        "datadir": data,
        "init-file": start,
        "port": port,
        "bind-address": "127.0.0.1",
        # The longest path of a socket has 107 bytes, which a directory of tests may be longer than.
        "socket": Path(os.path.relpath(directory / "s", data)),
        "innodb-buffer-pool-size": "8M",
        "innodb-log-file-size": "4M",
        "innodb-temp-data-file-path": "ibtmp1:1M:autoextend",
        "innodb-flush-log-at-trx-commit": 0,
        "skip-name-resolve": "ON",
        # Since 11.4 it would offer a certificate of its own.
        "ssl": "OFF",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    command = _command(daemon, "--no-defaults", *(f"--{name}={value}" for name, value in settings.items()))
    server = MariaServer(port, password, command, directory / "log")
    try:
        server.start()
        yield server
    finally:
        server.kill()  # nobody needs its data any more


def _programs() -> tuple[str, str]:
    def found() -> tuple[str | None, str | None]:
        return shutil.which("mariadbd", path=_PLACES), shutil.which("mariadb-install-db", path=_PLACES)

    if None in found() and packages.installable():
        with locked(Path(tempfile.gettempdir()) / "baton-mariadb.lock"):
            # Without the service that the package mariadb-server would start.
            packages.install(["mariadb-server-core", "mariadb-client-core"])
    daemon, installer = found()
    if daemon is None or installer is None:
        pytest.skip("MariaDB can be installed only as root on Debian")
    return daemon, installer


def _command(program: str, *arguments: str) -> list[str]:
    # MariaDB refuses to run as root. In a user namespace root's own files belong to an ordinary user.
    as_somebody = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"] if os.geteuid() == 0 else []
    # The server ends with the tests, even when they are killed.
    return [*as_somebody, "setpriv", "--pdeathsig", "KILL", "--", program, *arguments]


def _run(program: str, *arguments: str) -> None:
    done = subprocess.run(_command(program, "--no-defaults", *arguments), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{program} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
