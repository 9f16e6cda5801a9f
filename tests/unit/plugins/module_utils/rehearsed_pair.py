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
    from tests.postgres import PostgresServer

__all__ = ["Pair", "around"]

Found = typing.Dict[str, typing.Any]  # noqa: UP006 - evaluated on Python 3.9 too


def around(url: str) -> Surroundings:
    """Return the surroundings of a tool that reaches the database of ``url``."""
    return Surroundings({}, url, (), ())


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
        """Make a change in the shadow, and return what is to be asked of the target."""
        with psycopg.connect(self.server.url(self.shadow), autocommit=True) as own:
            install(own, [])
            before = read_catalog(own)
            arm(own, on=True)
            self.run(self.shadow, *statements)
            arm(own, on=False)
            after = read_catalog(own)
            events = tuple(read_events(own))
            asked = tuple(prechecks(Compared(before, after), read_parts(own), events, tables_read(own)))
        found = findings(Seen(before, after, events, frozenset(), prechecks=asked), [Revision("1")])["prechecks"]
        return [dict(one) for one in found]

    def answers(self, *statements: str, timeout: float = 5.0) -> list[Found]:
        """Make a change in the shadow, and return what the target answers."""
        return ask(around(self.server.url(self.target)), self.questions(*statements), timeout=timeout)

    def applies(self, *statements: str) -> str:
        """Make the change in the target, and return why it fails, nothing when it does not."""
        try:
            self.run(self.target, *statements)
        except psycopg.Error as error:
            return str(error).splitlines()[0]
        return ""
