"""The schema outside of a release: where it is, what is pending would do, and its way up and down, while what is live serves on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.environment import APP_HOSTS, Environment, Played
from tests.witness.checker import judge

MIGRATION = """\
from alembic import op

revision = "{revision}"
down_revision = "{after}"
phase = "{phase}"


def upgrade():
    op.execute("create table {table} (id int)")


def downgrade():
    op.execute("drop table {table}")
"""


def with_migration(shop: Environment, revision: str, *, after: str = "0002", phase: str = "expand", **more: str) -> str:
    """Make a version with one migration more, and return its name."""
    text = MIGRATION.format(revision=revision, after=after, phase=phase, table=f"made_by_{revision}")
    return shop.new_version(edits={f"migrations/versions/{revision}_more.py": text, **more})


def said(played: Played) -> str:
    """Return the output of a playbook with its white space made single."""
    return " ".join(played.output.split())


def migrate(shop: Environment, action: str = "status", **more: Any) -> Played:
    """Run migrate.yml, which has to go well."""
    return shop.must("migrate", migrate_action=action, **more)


AT_0002 = "[('0002',)]"
BASES: dict[Path, str] = {}
"""By environment, the version that was released last for that."""


@pytest.fixture
def base(shop: Environment) -> str:
    """Have a version live whose tree ends at 0002, as the database does, and return its name: that of the test before, if it still is."""
    version = BASES.get(shop.root, "")
    if shop.served()["version"] != version or not shop.schema().endswith(AT_0002):
        version = BASES[shop.root] = shop.new_version()
        shop.must("release", release_version=version)
    assert shop.schema().endswith(AT_0002)
    return version


def test_reading_says_where_the_schema_is_and_changes_nothing(shop: Environment, base: str) -> None:
    before, schema = shop.snapshot(), shop.schema()
    played = shop.must("migrate")
    assert "the schema is at 0002, up to date" in said(played)
    assert f"migrate shop {base}" in played.output
    assert (played.changed(), shop.snapshot(), shop.schema()) == ([], before, schema)


def test_a_rehearsal_says_what_is_pending_would_do_and_touches_only_the_tree(shop: Environment, base: str) -> None:
    version = with_migration(shop, "0009")
    schema, pids, runs, lease = shop.schema(), shop.pids(), shop.runs(), shop.lease()
    refused = shop.play("migrate", migrate_version=version)
    assert refused.code != 0
    assert f"{version} is not installed on app1" in said(refused)
    played = migrate(shop, "test", migrate_version=version)
    assert "expand: table public.made_by_0009 was added (0009)" in said(played)
    assert "the way down restores the schema" in said(played)
    assert (shop.schema(), shop.pids(), shop.runs(), shop.lease()) == (schema, pids, runs, lease)
    there = [host for host in APP_HOSTS if (shop.host(host) / "shop" / "releases" / version).exists()]
    assert there == ["app1"]
    assert "pending: 0009 expand" in said(migrate(shop, migrate_version=version))
    assert shop.served()["version"] == base


def test_up_and_down_under_traffic(shop: Environment, base: str) -> None:
    version, live, pids = with_migration(shop, "0009"), shop.live(), shop.pids()
    checked = migrate(shop, "apply", migrate_version=version)
    with shop.witness("migrate") as witness:
        witness.wait_until_flowing()
        again = migrate(shop, "apply", migrate_version=version)
        ahead = migrate(shop)
        down = migrate(shop, "rollback", migrate_version=version, migrate_revision="0002")
        ledger = witness.stop()
    assert "applied 0009" in said(checked)
    assert "0009 is applied already" in said(again)
    assert "the schema is ahead of this tree, which does not know 0009" in said(ahead)
    assert "undid 0009; the schema is at 0002" in said(down)
    verdict = judge(ledger)
    assert verdict.ok, verdict.reasons
    assert set(verdict.versions) == {base}
    assert (shop.live(), shop.pids()) == (live, pids)
    finished = [one for one in shop.runs() if one["event"] == "finished"][-3:]
    told = [(one["outcome"], one["applied"], one["undone"]) for one in finished]
    assert told == [("migrated", ["0009"], []), ("migrated", [], []), ("migrated", [], ["0009"])]
    assert not shop.lease()["owner"]
    assert "made_by_0009" not in shop.schema()


def test_what_is_live_keeps_the_schema_that_it_was_made_for(shop: Environment, base: str) -> None:
    before = shop.schema()
    refused = shop.play("migrate", migrate_action="rollback", migrate_revision="0001")
    assert refused.code != 0
    assert "0002, which a version in use needs; nothing was changed" in said(refused)
    assert f"abandoned. the schema is not where it should be, as said above; {base}" in said(refused)
    assert shop.schema() == before
    assert (shop.runs()[-1]["outcome"], shop.lease()["owner"]) == ("abandoned", "")


def test_what_has_lost_its_schema_is_neither_hot_nor_a_way_back(shop: Environment, base: str) -> None:
    version = with_migration(shop, "0009")
    shop.must("release", release_version=version)
    shop.must("rollback")
    assert shop.served()["version"] == base
    migrate(shop, "rollback", migrate_version=version, migrate_revision="0002")
    refused = shop.play("rollback", rollback_version=version)
    assert refused.code != 0
    assert f"0009 undone since {version} was live" in said(refused)
    played = shop.must("release", release_version=version)
    assert "forward: " in played.output
    assert "made_by_0009" in shop.schema()
    shop.must("rollback")
    migrate(shop, "rollback", migrate_version=version, migrate_revision="0002")


def test_a_contract_migration_waits_until_its_version_serves(shop: Environment, base: str) -> None:
    """The two halves of a removal: the release leaves it out, and it is made when the version before is no way back any more."""
    version = with_migration(shop, "0010", phase="contract")
    migrate(shop, "test", migrate_version=version)
    for allowed in (False, True):
        refused = shop.play("migrate", migrate_action="apply", migrate_version=version, database_allow_contract=allowed)
        assert refused.code != 0
        assert "contract migrations: 0010; nothing was changed" in said(refused)
    shop.must("release", release_version=version, database_revision="0002")
    assert "pending: 0010 contract" in said(migrate(shop))
    assert "contract migrations: 0010" in said(shop.play("migrate", migrate_action="apply"))
    migrate(shop, "apply", database_allow_contract=True)
    back = shop.play("rollback")
    assert back.code != 0
    assert f"{version} applied 0010, a schema change that {base} does not survive" in said(back)
    kept = shop.play("migrate", migrate_action="rollback", migrate_revision="-1")
    assert "0010, which a version in use needs" in said(kept)
    migrate(shop, "rollback", migrate_revision="-1", database_allow_contract=True)
    shop.must("rollback")
    assert shop.served()["version"] == base


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"migrate_action": "rollback"}, "migrate_action rollback with no revision"),
        ({"migrate_revision": "0001"}, "migrate_action status with the revision 0001"),
        ({"migrate_action": "up"}, "migrate_action: found 'up' (text), expected one of status, test, apply, rollback"),
        ({"migrate_action": "apply", "migrate_revision": "a b"}, "migrate_revision: found 'a b'"),
        ({"migrate_action": "apply", "release_version": "v1.1.0"}, "release_version: found given to a migrate"),
        ({"migrate_action": "apply", "migrate_version": "v7.7.7"}, "v7.7.7 is not installed on app1"),
        ({"migrate_slot": "green"}, "migrate_slot: found a name of the procedure's own"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else None,
)
def test_bad_input_is_refused_before_anything_is_touched(
    shop: Environment, settings: dict[str, Any], words: str
) -> None:
    before, schema = shop.snapshot(), shop.schema()
    played = shop.play("migrate", **settings)
    assert played.code != 0, played.output
    assert words in said(played)
    assert "Traceback" not in played.output
    assert (shop.snapshot(), shop.schema()) == (before, schema)


def test_it_does_not_run_beside_another_run(shop: Environment, base: str) -> None:
    version, path = with_migration(shop, "0009"), shop.state("lb1") / "lease.json"
    migrate(shop, "test", migrate_version=version)
    free, schema = path.read_text(), shop.schema()
    path.write_text(json.dumps({**json.loads(free), "owner": "bob", "expires_at": 99_999_999_999}))
    try:
        refused = shop.play("migrate", migrate_action="apply", migrate_version=version)
        read = migrate(shop, migrate_version=version)
    finally:
        path.write_text(free)
    assert refused.code != 0
    assert "held by bob" in said(refused)
    assert "pending: 0009" in said(read)
    assert (shop.schema(), shop.served()["version"]) == (schema, base)


def test_check_mode_says_what_would_be_applied_and_writes_nothing(shop: Environment, base: str) -> None:
    version = with_migration(shop, "0009")
    migrate(shop, "test", migrate_version=version)
    before, schema = shop.snapshot(), shop.schema()
    played = shop.must("migrate", "--check", migrate_action="apply", migrate_version=version)
    assert "would apply 0009" in said(played)
    assert (shop.snapshot(), shop.schema(), shop.served()["version"]) == (before, schema, base)
