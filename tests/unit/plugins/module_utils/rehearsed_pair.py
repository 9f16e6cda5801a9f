# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A shadow without rows and a target with them: what is asked of the target, and whether the same statements then fail there."""

from __future__ import annotations

import typing
from dataclasses import dataclass

import psycopg
from ansible_collections.baton.release.plugins.module_utils.migration_plan import Revision
from ansible_collections.baton.release.plugins.module_utils.migration_tool import Surroundings
from ansible_collections.baton.release.plugins.module_utils.rehearsal_catalog import read_catalog
from ansible_collections.baton.release.plugins.module_utils.rehearsal_change import Compared
from ansible_collections.baton.release.plugins.module_utils.rehearsal_findings import findings
from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck_parts import read_parts
from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck_rules import prechecks
from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck_run import ask
from ansible_collections.baton.release.plugins.module_utils.rehearsal_recorder import (
    arm,
    install,
    read_events,
    tables_read,
)
from ansible_collections.baton.release.plugins.module_utils.rehearsal_run import Seen

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_catalog import Catalog

    from tests.postgres import PostgresServer

__all__ = ["Pair", "around"]

Found = typing.Dict[str, typing.Any]  # noqa: UP006 - evaluated on Python 3.9 too


def around(url: str) -> Surroundings:
    """Return the surroundings of a tool that reaches the database of ``url``."""
    return Surroundings({}, url, (), frozenset())


@dataclass(frozen=True)
class Pair:
    """Two databases of one schema; only one of them has rows."""

    server: PostgresServer
    shadow: str
    target: str

    @classmethod
    def make(cls, server: PostgresServer, schema: str, rows: str) -> Pair:
        """Make both."""
        pair = cls(server, server.create_database(), server.create_database())
        for database, statements in ((pair.shadow, schema), (pair.target, f"{schema};{rows}")):
            pair.run(database, statements)
        return pair

    def run(self, database: str, *statements: str) -> None:
        """Run statements in a session of their own, each in a transaction of its own."""
        with psycopg.connect(self.server.url(database), autocommit=True) as session:
            for statement in statements:
                session.execute(statement.encode())

    def questions(self, *statements: str) -> list[Found]:
        """Make a change in the shadow with a session of its own, and return what is to be asked of the target."""
        with psycopg.connect(self.server.url(self.shadow), autocommit=True) as own:
            install(own, [])
            before = read_catalog(own)
            arm(own, on=True)
            self.run(self.shadow, *statements)
            arm(own, on=False)
            return _questions(own, before, tables_read(own))

    def questions_of(self, own: psycopg.Connection[typing.Any], *statements: str) -> list[Found]:
        """Make a change in the shadow with a session that records already, ask what is to be asked, and take it back."""
        with own.transaction(force_rollback=True):
            before = read_catalog(own)
            own.execute(b"SET LOCAL search_path = public")
            for statement in statements:
                own.execute(statement.encode())
            return _questions(own, before, [])

    def ask(self, questions: list[Found], timeout: float = 5.0) -> list[Found]:
        """Return what the target answers."""
        return ask(around(self.server.url(self.target)), questions, timeout=timeout)

    def answers(self, *statements: str, timeout: float = 5.0) -> list[Found]:
        """Make a change in the shadow, and return what the target answers."""
        return self.ask(self.questions(*statements), timeout)

    def fails(self, *statements: str) -> str:
        """Make the change in the target and take it back; return why it fails, nothing when it does not."""
        with psycopg.connect(self.server.url(self.target), autocommit=True) as session:
            try:
                with session.transaction(force_rollback=True):
                    for statement in statements:
                        session.execute(statement.encode())
            except psycopg.Error as error:
                return str(error).splitlines()[0]
        return ""


def _questions(own: psycopg.Connection[typing.Any], before: Catalog, read: typing.Collection[str]) -> list[Found]:
    after, events = read_catalog(own), tuple(read_events(own))
    asked = tuple(prechecks(Compared(before, after), read_parts(own), events, read))
    found = findings(Seen(before, after, events, frozenset(), prechecks=asked), [Revision("1")])
    return [dict(one) for one in found["prechecks"]]
