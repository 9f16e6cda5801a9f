"""A release whose inventory requires rehearsals: what was measured decides, whatever a migration says of itself."""

from __future__ import annotations

import pytest

from tests.e2e.environment import Environment
from tests.e2e.test_migrate import base, migrate, said, with_migration
from tests.witness.checker import judge

__all__ = ["base"]

REQUIRED = {"database_rehearsal": "required"}
SHARED = {"database_rehearsal_shared": True}
REVIEW = """\
from alembic import op

revision = "0009"
down_revision = "0002"
phase = "expand"


def upgrade():
    op.execute("update products set rating = 1 where rating is null")


def downgrade():
    op.execute("update products set rating = null where rating = 1")
"""


def test_a_change_that_somebody_should_look_at_is_refused_and_the_old_version_serves_on(
    shop: Environment, base: str
) -> None:
    live, schema = shop.live(), shop.schema()
    version = shop.new_version(edits={"migrations/versions/0009_review.py": REVIEW})
    with shop.witness("gate") as witness:
        witness.wait_until_flowing()
        refused = shop.release(version, **REQUIRED)
        ledger = witness.stop()
    assert refused.code != 0
    assert "review: table public.products had rows changed (UPDATE) (0009, marked expand)" in said(refused)
    assert "allow_review" in said(refused)
    assert not refused.ran("Start the version")
    assert judge(ledger).ok, judge(ledger).reasons
    assert (shop.live(), shop.served()["version"], shop.schema()) == (live, base, schema)
    assert (shop.runs()[-1]["outcome"], shop.runs()[-1]["applied"]) == ("abandoned", [])


@pytest.mark.usefixtures("base")
def test_what_cannot_be_kept_for_others_is_no_reason_to_go_back(shop: Environment) -> None:
    version = with_migration(shop, "0009")
    (shop.root / "artifacts" / f"shop-{version}.rehearsal.json").mkdir()
    played = shop.must("release", release_version=version, **REQUIRED, **SHARED)
    assert "could not be kept" in said(played)
    assert shop.served()["version"] == version
    shop.must("rollback", rollback_database=True)


def test_an_addition_passes_and_was_rehearsed_once_for_all_who_have_the_build(shop: Environment, base: str) -> None:
    version = with_migration(shop, "0009")
    migrate(shop, "test", migrate_version=version, **SHARED)
    assert (shop.root / "artifacts" / f"shop-{version}.rehearsal.json").exists()
    (shop.state("app1") / "rehearsal.json").unlink()
    with shop.witness("passes") as witness:
        witness.wait_until_flowing()
        played = shop.must("release", release_version=version, **REQUIRED, **SHARED)
        ledger = witness.stop()
    assert "rehearsed before, on " in said(played)
    assert "expand: table public.made_by_0009 was added (0009)" in said(played)
    verdict = judge(ledger)
    assert verdict.ok, verdict.reasons
    assert set(verdict.versions) == {base, version}
    assert "made_by_0009" in shop.schema()
    shop.must("rollback", rollback_database=True)
    assert "made_by_0009" not in shop.schema()
