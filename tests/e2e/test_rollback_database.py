"""A rollback that takes the schema back too: what was added when nobody needs it any more, what hinders before the traffic moves."""

from __future__ import annotations

from tests.e2e.environment import Environment, Played
from tests.e2e.test_migrate import base, said, with_migration
from tests.witness.checker import judge

__all__ = ["base"]

HINDRANCE = """\
from alembic import op

revision = "0010"
down_revision = "0009"
phase = "contract"


def upgrade():
    op.execute("alter table products add constraint priced check (price_cents > 0)")


def downgrade():
    op.execute("alter table products drop constraint priced")
"""
REMOVAL = """\
from alembic import op

revision = "0009"
down_revision = "0002"
phase = "contract"


def upgrade():
    op.execute("alter table orders drop column placed_at")


def downgrade():
    op.execute("alter table orders add column placed_at timestamptz not null default now()")
"""

TAKE_BACK = {"rollback_database": True, "database_allow_review": True}


def order(played: Played) -> list[str]:
    """Return those of the tasks that say in which order schema and traffic went back."""
    marks = ("Undo what the older version does not survive", "Switch", "Undo what the older version does not need")
    return [one["task"] for one in played.tasks if one["task"] in marks and one["host"] in ("app1", "lb1")]


def test_what_was_added_is_undone_when_the_older_version_is_proven(shop: Environment, base: str) -> None:
    """With a contract migration on top of it, which goes before the traffic does."""
    before = shop.schema()
    version = with_migration(shop, "0009", **{"migrations/versions/0010_hindrance.py": HINDRANCE})
    shop.must("release", release_version=version, database_allow_contract=True)
    refused = shop.play("rollback")
    assert f"{version} applied 0010, a schema change that {base} does not survive" in said(refused)
    serving = shop.live()
    unseen = shop.play("rollback", rollback_database=True)
    assert unseen.code != 0
    assert "review: constraint public.products.priced was dropped" in said(unseen)
    files = shop.snapshot()
    checked = shop.must("rollback", "--check", **TAKE_BACK)
    assert f"undo first 0010, before {base} starts to serve, from the tree of {version}" in said(checked)
    assert f"undo last 0009, when {base} is proven" in said(checked)
    assert "Undo what the older version does not need" in {one["task"] for one in checked.tasks}
    assert (shop.snapshot(), shop.live()) == (files, serving)
    with shop.witness("database") as witness:
        witness.wait_until_flowing()
        played = shop.must("rollback", **TAKE_BACK)
        ledger = witness.stop()
    assert order(played) == [
        "Undo what the older version does not survive",
        "Switch",
        "Undo what the older version does not need",
    ]
    verdict = judge(ledger)
    assert verdict.ok, verdict.reasons
    assert set(verdict.versions) == {base, version}
    assert (shop.schema(), shop.served()["version"]) == (before, base)
    assert shop.runs()[-1]["undone"] == ["0010", "0009"]
    again = shop.must("rollback", rollback_version=base, rollback_database=True)
    assert f"suits {base}; nothing is undone" in said(again)
    assert again.changed() == []


def test_what_cannot_be_brought_back_is_refused_before_anything_is_touched(shop: Environment, base: str) -> None:
    version = shop.new_version(edits={"migrations/versions/0009_removal.py": REMOVAL})
    shop.must("release", release_version=version, database_allow_contract=True)
    live, schema, runs = shop.live(), shop.schema(), shop.runs()
    refused = shop.play("rollback", rollback_database=True)
    assert refused.code != 0
    assert "what was in public.orders.placed_at is gone since they were applied" in said(refused)
    assert (shop.live(), shop.schema(), shop.runs()) == (live, schema, runs)
    shop.must("migrate", migrate_action="rollback", migrate_revision="0002", database_allow_contract=True)
    shop.must("rollback", rollback_version=base)


def test_traffic_stays_back_when_the_schema_cannot_be_taken_back(shop: Environment, base: str) -> None:
    version = with_migration(shop, "0009")
    shop.must("release", release_version=version)
    tree = shop.host("app1") / "shop" / "releases" / version / "migrations" / "versions" / "0009_more.py"
    spoil = f"sed -i 's/drop table made_by_0009/drop table no_such_table/' {tree}"
    played = shop.play(
        "rollback", rollback_database=True, before="Undo what the older version does not need", sabotage=spoil
    )
    assert played.code != 0
    assert (
        f"0009 may still be applied, as said above; mend that, and undo it with rollback.yml -e rollback_version={base}"
        in said(played)
    )
    assert (shop.served()["version"], shop.runs()[-1]["outcome"]) == (base, "verified")
    assert not shop.lease()["owner"]
    tree.write_text(tree.read_text().replace("no_such_table", "made_by_0009"))
    shop.must("rollback", rollback_version=base, rollback_database=True)
    assert "made_by_0009" not in shop.schema()
