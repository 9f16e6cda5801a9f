# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The address of the database for Java: all that libpq would take into account, and the password apart."""

from __future__ import annotations

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_jdbc import jdbc_address

TAIL = "options=-c%20lock_timeout%3D5s&ApplicationName=x%20y"


@pytest.mark.parametrize(
    ("variables", "url", "address", "user", "password"),
    [
        ({}, "postgresql://ann:p%40s@db1/shop", "db1:5432/shop?", "ann", "p@s"),
        ({}, "postgresql+psycopg://ann@db1:6000/my%20shop", "db1:6000/my%20shop?", "ann", None),
        ({"PGPASSWORD": "pw"}, "postgres://ann@[::1]:6000/shop", "[::1]:6000/shop?", "ann", "pw"),
        ({}, "postgresql://a:b@h1:1,h2:2/shop?target_session_attrs=read-write", "h1:1,h2:2/shop?targetServerType=primary&", "a", "b"),
        (
            {"PGSSLROOTCERT": "/ca.pem"},
            "postgresql://a:b@h/shop?sslmode=verify-full&connect_timeout=3&application_name=app&unknown=1",
            "h:5432/shop?sslmode=verify-full&sslrootcert=%2Fca.pem&connectTimeout=3&",
            "a",
            "b",
        ),
        ({"PGHOST": "h", "PGPORT": "6", "PGDATABASE": "d", "PGUSER": "u"}, "postgresql://", "h:6/d?", "u", None),
    ],
)  # fmt: skip # one row for each case reads as a table
def test_addresses(variables: dict[str, str], url: str, address: str, user: str, password: str | None) -> None:
    found = jdbc_address(variables, url, options="-c lock_timeout=5s", application_name="x y")
    assert found == (f"jdbc:postgresql://{address}{TAIL}", user, password)


def test_a_socket_is_refused_in_words() -> None:
    with pytest.raises(BatonError, match="at the socket /run/postgresql"):
        jdbc_address({}, "postgresql://ann@/shop?host=/run/postgresql", options="", application_name="x")
