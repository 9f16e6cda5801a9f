# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Fixtures that start something real."""

from __future__ import annotations

import typing

import pytest

if typing.TYPE_CHECKING:
    from tests.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> typing.Iterator[PostgresServer]:
    """Return a PostgreSQL server that ends with the tests."""
    from tests.postgres import postgres_server  # noqa: PLC0415 - most tests run without psycopg

    with postgres_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    """Return the name of an empty database."""
    return postgres.create_database()
