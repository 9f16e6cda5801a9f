"""A release that changes a table of a million rows under traffic: while a long transaction holds the table, and when that is over."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from ansible_collections.baton.release.plugins.module_utils import lease

from tests.e2e.environment import Environment, Played
from tests.e2e.test_migrate import said
from tests.witness.checker import failures, judge, latency
from tests.witness.ledger import Ledger

MIGRATION = """\
from alembic import op

revision = "0009"
down_revision = "0002"
phase = "expand"


def upgrade():
    op.execute("alter table orders add column note text not null default ''")
    with op.get_context().autocommit_block():
        op.execute("create index concurrently orders_placed on orders (placed_at)")


def downgrade():
    op.execute("drop index orders_placed")
    op.execute("alter table orders drop column note")
"""
ROWS = 1_000_000
FILL = """
alter table orders drop constraint orders_product_id_fkey;
insert into orders (id, product_id, quantity, total_cents, placed_at)
  select 1000000 + n, 1 + n % 5, 1, 100, now() - n * interval '1 second' from generate_series(1, 1000000) as n;
alter table orders add constraint orders_product_id_fkey foreign key (product_id) references products;
"""
# Of the migration, and of the session that holds the migration lock all the while.
WORKING = """
select case when query ilike 'alter table orders add%' then 'altering' when query ilike 'create index concurrently orders%' then 'indexing'
            else 'holding' end
  from pg_stat_activity
 where datname = current_database()
   and (state = 'active' and (query ilike 'alter table orders add%' or query ilike 'create index concurrently orders%')
        or application_name ~ '^baton.db_migrate .* [0-9]+$')
"""
CLEAN = """
drop index if exists orders_placed; alter table orders drop column if exists note;
truncate orders; update alembic_version set version_num = '0002' where version_num = '0009';
"""
PATHS = ("/", "/products", f"/orders/{ROWS + 1000}")
ORDER = ("/orders", '{"product_id": 1, "quantity": 1}')
PATIENCE, TTL = 5, 1
# The lease of the lock is as short as can be: it has to last all the same while the migration is waited with.
SETTINGS = {"database_rehearsal": "required", "database_lock_timeout": PATIENCE, "release_lock_ttl": TTL}


@pytest.fixture
def database(shop: Environment) -> Iterator[psycopg.Connection[Any]]:
    """Give a session with the database, which is at 0002 and whose table of orders has a million rows."""
    if "0002" not in shop.schema():
        # It needs rows that are there, so it cannot be rehearsed.
        shop.must("release", release_version=shop.new_version())
    url = json.loads((shop.root / "secrets.json").read_text())["DATABASE_URL"].replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True, application_name="nightly report") as connection:
        connection.execute(FILL)
        connection.execute("vacuum analyze orders")
        try:
            yield connection
        finally:
            connection.execute(CLEAN)


class Seen:
    """When the statements of the migration were at work, and when the migration lock was held."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {"altering": [], "indexing": [], "holding": []}
        self.lease_was_held = False

    def look(self, run: Future[Played], database: psycopg.Connection[Any], shop: Environment) -> None:
        """Look until the run has ended; when that has taken longer than the lease, try to take it."""
        while not run.done():
            now = time.time()
            for (what,) in database.execute(WORKING).fetchall():
                self.times[what].append(now)
            holding = self.times["holding"]
            if holding and holding[-1] > holding[0] + TTL + 1 and not self.lease_was_held:
                with contextlib.suppress(lease.LeaseHeldError):
                    lease.acquire(shop.state("lb1"), owner="another run", reason="", ttl=1, check_mode=True)
                    raise AssertionError("another run could take the lock while the migration was waited with")
                self.lease_was_held = True
            time.sleep(0.02)


def figures(name: str, ledger: Ledger, begin: float, end: float) -> tuple[float, float]:
    """Print what users felt from ``begin`` to ``end``, and return p99 and the longest in milliseconds."""
    seen = ledger.window(begin, end)
    felt = latency(seen)
    assert felt is not None, f"nobody asked anything {name}"
    print(
        f"{name}: {len(seen)} requests in {end - begin:.1f} s, {len(failures(seen))} failed,"
        f" p50 {felt.p50:.0f}, p99 {felt.p99:.0f}, longest {felt.max:.0f} ms"
    )
    return felt.p99, felt.max


def test_a_long_transaction_in_the_way_and_then_the_same_command(
    shop: Environment, database: psycopg.Connection[Any]
) -> None:
    served = shop.served()["version"]
    version = shop.new_version(edits={"migrations/versions/0009_noted.py": MIGRATION})
    live, vain, well = shop.live(), Seen(), Seen()
    with shop.witness("load", rate=60, paths=PATHS, posts=[ORDER]) as witness, ThreadPoolExecutor(1) as beside:
        witness.wait_until_flowing()
        time.sleep(3)
        begun = time.time()
        pid = database.info.backend_pid
        with psycopg.connect(database.info.dsn, password=database.info.password, autocommit=True) as other:
            with database.transaction():
                database.execute("select count(*) from orders")
                run = beside.submit(shop.release, version, **SETTINGS)
                vain.look(run, other, shop)
            refused = run.result()
            state = (shop.live(), shop.served()["version"], shop.runs()[-1]["outcome"], shop.lease()["owner"])
            run = beside.submit(shop.release, version, **SETTINGS)
            well.look(run, other, shop)
        played = run.result()
        ledger = witness.stop()
    assert refused.code != 0
    assert f"orders was held by server process {pid} (role" in said(refused)
    assert "'nightly report'" in said(refused)
    assert "nothing was changed" in said(refused)
    assert not refused.ran("Switch")
    assert state == (live, served, "abandoned", "")
    assert not vain.times["altering"]
    assert vain.lease_was_held
    assert played.code == 0, played.output
    assert shop.served()["version"] == version
    assert "'note'" in shop.schema()

    verdict = judge(ledger)
    assert verdict.ok, verdict.reasons
    assert set(verdict.versions) == {served, version}
    figures("before", ledger, begun - 3, begun)
    # Nothing of the migration is in line for the table, so nobody stands in line behind it.
    p99, _ = figures("while it is waited with", ledger, vain.times["holding"][0], vain.times["holding"][-1])
    assert p99 < 1000
    p99, _ = figures(
        "while the index is built", ledger, well.times["indexing"][0] - 0.5, well.times["indexing"][-1] + 0.5
    )
    assert p99 < 1000
