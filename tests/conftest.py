# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Fixtures that start something real."""

from __future__ import annotations

import os
import shutil
import typing
from pathlib import Path

import pytest

if typing.TYPE_CHECKING:
    from tests.mariadb import MariaServer
    from tests.postgres import PostgresServer

MEMORY = Path("/dev/shm")  # noqa: S108  # pytest makes a directory of its own in it
ENOUGH_BYTES = 8 << 30
"""Twice and more of what the tests of the playbooks were seen to take."""


def pytest_configure() -> None:
    """Have tests write to memory, where there is enough of it: to make the 1,300 files of a release took 50 times as long on a disk."""
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ENOUGH_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> typing.Iterator[PostgresServer]:
    """Return a PostgreSQL server that ends with the tests; the variable BATON_TEST_POSTGRES names the programs of another version."""
    from tests.postgres import postgres_server  # noqa: PLC0415 - most tests run without psycopg

    programs = os.environ.get("BATON_TEST_POSTGRES")
    with postgres_server(tmp_path_factory.mktemp("postgres"), programs=Path(programs) if programs else None) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> typing.Iterator[MariaServer]:
    """Return a MariaDB server that ends with the tests."""
    from tests.mariadb import maria_server  # noqa: PLC0415 - most tests run without PyMySQL

    with maria_server(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    """Return the name of an empty database."""
    return postgres.create_database()
