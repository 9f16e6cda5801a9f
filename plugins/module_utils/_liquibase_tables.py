# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The two tables of Liquibase in the database: what ran, and its own lock, a row that outlives a process which is killed."""

from __future__ import annotations

import re
import time
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils._liquibase_reader import Changeset
from ansible_collections.baton.release.plugins.module_utils._psycopg import connect
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import read_text

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils._psycopg import Connection
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Surroundings

__all__ = ["APPLICATION", "MARK", "Tables", "configured"]

APPLICATION = "baton.db_migrate liquibase"
"""How the sessions of Liquibase introduce themselves to the server."""
MARK = "baton.db_migrate"
"""What Liquibase notes with its lock of who took it, when it was started here."""
_PROPERTIES = "liquibase.properties"
_ENDING = 10.0  # seconds that the server may take to notice that a client is gone
_PAUSE = 0.2
_PROPERTY = re.compile(r"\s*([^#!\s=:][^\s=:]*)\s*[=:]?\s*(.*?)\s*")
_FIND = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND lower(c.relname) = lower(%s) AND lower(n.nspname) = lower(coalesce(%s, current_schema()))"""
_AT_WORK = "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()"


def configured(directory: Path, variables: typing.Mapping[str, str]) -> dict[str, str]:
    """Return what the app tells Liquibase in its environment and its properties, by names in small letters without dashes and dots."""
    name = variables.get("LIQUIBASE_DEFAULTS_FILE") or _PROPERTIES
    found: dict[str, str] = {}
    for path in (directory / name, directory / re.sub(r"(\.[^.]*)?$", r".local\1", name, count=1)):
        for line in (read_text(path) or "").splitlines():
            match = _PROPERTY.fullmatch(line)
            if match:
                found[_key(match[1])] = match[2]
    told = {_key(key): value for key, value in variables.items() if key.upper().startswith("LIQUIBASE_")}
    return {**found, **told}


def _key(name: str) -> str:
    plain = re.sub(r"^(liquibase[._])?(command[._])?", "", name.lower(), count=1)
    return re.sub(r"[^a-z0-9]", "", plain)


class Tables:
    """Where they are, and what they say."""

    def __init__(self, around: Surroundings, told: typing.Mapping[str, str]) -> None:
        """Work out what they are called from what the app tells Liquibase (see ``configured``)."""
        self._around = around
        self._schema = (
            told.get("liquibaseschemaname") or told.get("schemaname") or told.get("defaultschemaname") or None
        )
        self._log = told.get("databasechangelogtablename") or "databasechangelog"
        self._lock = told.get("databasechangeloglocktablename") or "databasechangeloglock"

    def ran(self) -> list[Changeset]:
        """Return what ran in the order in which it did, with the checksums of then; writes nothing.

        Raises:
            BatonError: the database cannot be read.
        """
        with self._session("reading") as session:
            session.execute(b"SET default_transaction_read_only = on")
            table = self._named(session, self._log)
            if table is None:
                return []
            rows = session.execute(
                f"SELECT filename, author, id, coalesce(md5sum, ''), coalesce(description, '') FROM {table}"  # noqa: S608 - from the catalog
                " ORDER BY dateexecuted, orderexecuted".encode()
            ).fetchall()
        return [Changeset(*map(str, row)) for row in rows]

    def free_lock(self) -> None:
        """See that Liquibase's own lock is free; what a run of ours left behind when it was killed is released.

        Whoever calls holds the migration lock, which lasts as long as anything that was started under it.

        Raises:
            BatonError: somebody else holds it, or a session of the run that was killed is still at work.
        """
        with self._session("unlocking") as session:
            table = self._named(session, self._lock)
            if table is None:
                return
            row = session.execute(
                f"SELECT lockedby, lockgranted::text FROM {table} WHERE locked".encode()  # noqa: S608 - from the catalog
            ).fetchone()
            if row is None:
                return
            holder, since = str(row[0]), row[1]
            if f"#{MARK} " not in holder:
                raise BatonError(
                    found=f"Liquibase's own lock ({table}), held by {holder} since {since or 'unknown'}, and not by db_migrate:"
                    " the app migrates by itself as it starts, or somebody ran Liquibase by hand; nothing was changed",
                    expected="no lock of Liquibase's own while the lock of this module is held",
                    fix="run again when that has ended; if nothing of it runs any longer, run 'liquibase release-locks', and this again",
                )
            self._await_end(session)
            session.execute(
                f"UPDATE {table} SET locked = false, lockgranted = NULL, lockedby = NULL WHERE locked AND lockedby = %s".encode(),  # noqa: S608 - from the catalog
                [holder],
            )

    def _await_end(self, session: Connection) -> None:
        deadline = time.monotonic() + _ENDING
        while (row := session.execute(_AT_WORK.encode(), [APPLICATION]).fetchone()) is not None:
            if time.monotonic() >= deadline:
                raise BatonError(
                    found=f"server process {row[0]} of a Liquibase that was killed, which is still at work; nothing was changed",
                    expected="the server to have noticed that its client is gone",
                    fix=f"run again when it has ended, or SELECT pg_terminate_backend({row[0]})",
                )
            time.sleep(_PAUSE)

    def _session(self, what: str) -> Connection:
        return connect(self._around.variables, self._around.url, application_name=f"baton.db_migrate {what}")

    def _named(self, session: Connection, name: str) -> str | None:
        row = session.execute(_FIND.encode(), [name, self._schema]).fetchone()
        return None if row is None else str(row[0])
