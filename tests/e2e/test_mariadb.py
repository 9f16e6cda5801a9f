"""An app whose migrations go to MariaDB, which takes no change of the schema back and in which nothing is rehearsed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.files import write_json

from tests import migration_tools
from tests.e2e.environment import ROOT, Environment, Played
from tests.e2e.test_migrate import said
from tests.mariadb import MariaServer
from tests.witness.checker import judge

FIRST = "CREATE TABLE carts (id int)"
COLUMN = "ALTER TABLE carts ADD note int"
NO_COLUMN = "ALTER TABLE carts DROP note"
HALF = COLUMN + "; CALL no_such_procedure()"
URL = "MARIA_URL"
ENDS_SECONDS = 300


class Maria:
    """The shop, with a database of its own for migrations in which dbmate is at home; it serves from its PostgreSQL all the while."""

    def __init__(self, shop: Environment, server: MariaServer) -> None:
        """Have the URL of a new database among the secrets, and a version live that has made its first table there."""
        self.shop, self.server, self.database = shop, server, server.create_database()
        path = shop.root / "secrets.json"
        write_json(path, {**json.loads(path.read_text()), URL: server.url(self.database)}, mode=0o600)
        self.settings: dict[str, Any] = {
            "secrets_items": {"DATABASE_URL": "DATABASE_URL", URL: URL},
            "database_url_variable": URL,
            "database_driver": "dbmate",
            "database_dbmate_program": str(migration_tools.dbmate()),
            # How fast it answers is no matter of these tests.
            "watch_max_p95_ms": 5000,
        }
        self.base = self.version()
        self.must("release", release_version=self.base)

    def version(self, *steps: tuple[str, str, str]) -> str:
        """Make a version with the first table and these steps, each of them its phase and its ways up and down; return its name."""
        files = {}
        for number, (phase, up, down) in enumerate((("expand", FIRST, "DROP TABLE carts"), *steps), 1):
            text = f"-- migrate:up\n-- phase: {phase}\n{up};\n-- migrate:down\n{down};\n"
            files[f"db/migrations/{number:04}_step.sql"] = text if phase else text.replace("-- phase: \n", "")
        # Like the first one, which is at home in every schema of its PostgreSQL that tests before may have left.
        return self.shop.new_version(edits=files, like="v1.0.0")

    def play(self, playbook: str, **more: Any) -> Played:
        """Run a playbook, whatever comes of it."""
        return self.shop.play(playbook, **{**self.settings, **more})

    def must(self, playbook: str, **more: Any) -> str:
        """Run a playbook that is to end well, and return what it said."""
        played = self.play(playbook, **more)
        assert played.code == 0, played.output
        return said(played)

    def refused(self, playbook: str, **more: Any) -> str:
        """Run a playbook that is to fail before any traffic moves, and return what it said."""
        live = (self.shop.live(), self.shop.served()["version"])
        played = self.play(playbook, **more)
        assert played.code != 0, played.output
        assert (self.shop.live(), self.shop.served()["version"]) == live
        assert not played.ran("Switch")
        assert self.server.password not in played.output
        return said(played)

    def columns(self) -> list[str]:
        """Return the columns of the first table."""
        return [str(name) for name, *_rest in self.server.query(self.database, "SHOW COLUMNS FROM carts")]


@pytest.fixture(scope="module")
def maria(fleet: Environment, mariadb: MariaServer) -> Iterator[Maria]:
    """The shared environment; afterwards the shop's migrations are those of its own database again."""
    maria = Maria(fleet, mariadb)
    yield maria
    fleet.must("release", release_version=fleet.new_version())


@pytest.fixture
def shop(maria: Maria) -> Iterator[Maria]:
    """The same one, with the first version live."""
    yield maria
    assert maria.columns() == ["id"]
    if maria.shop.served()["version"] != maria.base:
        maria.must("release", release_version=maria.base)


def test_up_and_down_outside_of_a_release_and_a_rehearsal_says_that_there_is_none(shop: Maria) -> None:
    version = shop.version(("expand", COLUMN, NO_COLUMN))
    tested = shop.refused("migrate", migrate_action="test", migrate_version=version)
    assert "Found: a database of MySQL or MariaDB, in which migrations are not rehearsed" in tested
    assert "the schema was only read" in tested
    assert "pending: 0002 expand" in shop.must("migrate", migrate_version=version)
    assert "applied 0002; the schema is at 0002" in shop.must(
        "migrate", migrate_action="apply", migrate_version=version
    )
    assert shop.columns() == ["id", "note"]
    assert "the schema is ahead of this tree, which does not know 0002" in shop.must("migrate")
    down = {"migrate_action": "rollback", "migrate_version": version, "migrate_revision": "0001"}
    assert "undid 0002; the schema is at 0001" in shop.must("migrate", **down)


def test_a_release_that_requires_a_rehearsal_says_how_to_go_on_without(shop: Maria) -> None:
    """So does the way back past a change that the version before does not survive."""
    check = (
        "contract",
        "ALTER TABLE carts ADD CONSTRAINT noted CHECK (note > 0)",
        "ALTER TABLE carts DROP CONSTRAINT noted",
    )
    version = shop.version(("", COLUMN, NO_COLUMN), check)
    allowed = {"release_version": version, "database_allow_contract": True}
    refused = shop.refused("release", **allowed, database_rehearsal="required")
    assert "Found: a database of MySQL or MariaDB, in which migrations are not rehearsed" in refused
    assert "Expected: PostgreSQL for a rehearsal" in refused
    assert "database_rehearsal: report" in refused
    assert shop.columns() == ["id"]
    with shop.shop.witness("mariadb") as witness:
        witness.wait_until_flowing()
        released = shop.must("release", **allowed, database_rehearsal="report")
        ledger = witness.stop()
    assert "not rehearsed: a database of MySQL or MariaDB" in released
    assert "review: 0002, which has no mark" in released
    assert "contract: 0003, as it is marked" in released
    assert judge(ledger).ok, judge(ledger).reasons
    assert shop.columns() == ["id", "note"]
    refused = shop.refused("rollback", rollback_database=True)
    assert "in which migrations are not rehearsed" in refused
    assert "-e database_allow_contract=true" in refused
    shop.must("migrate", migrate_action="rollback", migrate_revision="0002", database_allow_contract=True)
    shop.must("rollback", rollback_database=True)
    assert shop.shop.runs()[-1]["undone"] == ["0002"]


def test_a_migration_that_fails_half_way_is_explained_and_so_is_the_way_on(shop: Maria) -> None:
    """The first of two is whole, the second one by half; what serves serves on."""
    steps = ("expand", "ALTER TABLE carts ADD more int", "ALTER TABLE carts DROP more")
    version = shop.version(steps, ("expand", HALF, NO_COLUMN))
    failed = shop.refused("release", release_version=version)
    for words in (
        "no_such_procedure",
        "the schema is at 0002, it was at 0001",
        "MySQL or MariaDB takes no change of the schema back when a migration fails",
        "new: column carts.note",
        f"{version} failed before traffic moved; {shop.base}",
    ):
        assert words in failed
    assert shop.shop.runs()[-1]["applied"] == ["0002"]
    again = shop.refused("release", release_version=version)
    assert "that attempt has left a part of this migration behind" in again
    assert "to apply 0003 ended with" in shop.must("migrate", migrate_version=version)
    shop.server.query(shop.database, NO_COLUMN)
    mended = shop.version(steps, ("expand", COLUMN, NO_COLUMN))
    assert "applied 0003" in shop.must("release", release_version=mended)
    assert shop.columns() == ["id", "more", "note"]
    shop.must("rollback", rollback_database=True)


def test_of_two_at_once_one_migrates_and_the_other_one_finds_nothing_to_do(shop: Maria) -> None:
    """At the latest when it is run again: a plan from before the first one took the lease is refused."""
    version = shop.version(("expand", COLUMN, NO_COLUMN))
    shop.play("migrate", migrate_action="test", migrate_version=version)
    given = {**shop.settings, "migrate_action": "apply", "migrate_version": version, "release_lock_wait": 120}
    command, environment = shop.shop.command("migrate", **given), shop.shop.variables()
    both = [
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        for _number in range(2)
    ]
    outputs = [" ".join(one.communicate(timeout=ENDS_SECONDS)[0].split()) for one in both]
    (other,) = [number for number, output in enumerate(outputs) if "applied 0002" not in output]
    assert both[1 - other].returncode == 0, outputs
    words = "was taken since this plan was made" if both[other].returncode else "0002 is applied already"
    assert words in outputs[other], outputs
    assert "0002 is applied already" in shop.must("migrate", **given)
    shop.must("migrate", migrate_action="rollback", migrate_version=version, migrate_revision="0001")
