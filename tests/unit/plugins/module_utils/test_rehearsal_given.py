# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The room for a shadow on a given server by itself: what it refuses, what it keeps, and what it takes away with it."""

from __future__ import annotations

import time
import typing
from dataclasses import replace

import psycopg
import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_tool import Surroundings
from ansible_collections.baton.release.plugins.module_utils.rehearsal_given import NAME, given_room
from ansible_collections.baton.release.plugins.module_utils.rehearsal_target import Target, read_target

from tests.postgres import postgres_server

if typing.TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres import PostgresServer

MARK = "made by baton.release for rehearsals"
ROLES = "SELECT rolname::text FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"
ANOTHER_REHEARSAL = b"SELECT pg_advisory_lock_shared(hashtextextended('baton.rehearsal:' || 'all', 0))"


@pytest.fixture
def target(postgres: PostgresServer, database: str) -> Target:
    """Return a target as if it were on another server."""
    around = Surroundings({}, postgres.url(database), (), frozenset())
    return replace(read_target(around, ()), started="0")


def roles(server: PostgresServer) -> list[str]:
    return [str(name) for (name,) in server.query("postgres", ROLES)]


def test_a_standby_is_refused(target: Target, tmp_path: Path) -> None:
    with (
        postgres_server(tmp_path, standby=True) as standby,
        pytest.raises(BatonError, match="a server for rehearsals that is a standby"),
        given_room(standby.url(), target, same_server=False),
    ):
        pass


def test_roles_that_were_made_for_rehearsals_go_with_the_last_one_and_no_others(
    target: Target, postgres: PostgresServer
) -> None:
    before = roles(postgres)
    (some,) = target.roles[:1]
    wanted = replace(target, roles=(*target.roles, some._replace(name="of_the_target")))
    postgres.query("postgres", "CREATE ROLE of_somebody_else")
    try:
        with psycopg.connect(postgres.url(), autocommit=True) as other:
            other.execute(ANOTHER_REHEARSAL)
            with given_room(postgres.url(), wanted, same_server=False):
                assert {"of_the_target", "of_somebody_else"} <= set(roles(postgres))
            # The other one may need it as well.
            assert "of_the_target" in roles(postgres)
        with given_room(postgres.url(), target, same_server=False):
            pass
        assert roles(postgres) == sorted([*before, "of_somebody_else"])
    finally:
        postgres.query("postgres", "DROP ROLE of_somebody_else")


def test_a_server_that_ends_idle_sessions_ends_no_room(target: Target, postgres: PostgresServer) -> None:
    postgres.query("postgres", "ALTER ROLE postgres SET idle_session_timeout = '200ms'")
    try:
        with given_room(postgres.url(), target, same_server=False) as room:
            time.sleep(1)
        assert room.database.startswith(NAME)
        assert postgres.query("postgres", f"SELECT 1 FROM pg_database WHERE datname = '{room.database}'") == []  # noqa: S608 - a name that was made here
    finally:
        postgres.query("postgres", "ALTER ROLE postgres RESET idle_session_timeout")
