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
WORKING = """
select query ilike 'alter table orders%', wait_event_type = 'Lock' from pg_stat_activity
 where state = 'active' and (query ilike 'alter table orders add%' or query ilike 'create index concurrently orders%')
"""
CLEAN = """
drop index if exists orders_placed; alter table orders drop column if exists note;
truncate orders; update alembic_version set version_num = '0002' where version_num = '0009';
"""
PATHS = ("/", "/products", f"/orders/{ROWS + 1000}")
ORDER = ("/orders", '{"product_id": 1, "quantity": 1}')
LOCK_TIMEOUT, RETRIES = 2, 1
# The lease of the lock is as short as can be: it has to last all the same while the tool waits.
SETTINGS = {
    "database_ddl_lock_timeout": f"{LOCK_TIMEOUT}s",
    "database_ddl_lock_retries": RETRIES,
    "release_lock_ttl": 1,
}


@pytest.fixture
def database(shop: Environment) -> Iterator[psycopg.Connection[Any]]:
    """Give a session with the database, whose table of orders has a million rows."""
    url = json.loads((shop.root / "secrets.json").read_text())["DATABASE_URL"].replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True, application_name="nightly report") as connection:
        connection.execute(FILL)
        connection.execute("vacuum analyze orders")
        try:
            yield connection
        finally:
            connection.execute(CLEAN)


class Seen:
    """When the statements of the migration were at work, and since when one of them waited for the table."""

    def __init__(self) -> None:
        self.altering: list[float] = []
        self.indexing: list[float] = []
        self.waiting: list[float] = []
        self.lease_was_held = False

    def look(self, run: Future[Played], database: psycopg.Connection[Any], shop: Environment) -> None:
        """Look until the run has ended; when it has waited for longer than the lease, try to take that."""
        while not run.done():
            now = time.time()
            for altering, waiting in database.execute(WORKING).fetchall():
                (self.altering if altering else self.indexing).append(now)
                self.waiting += [now] if altering and waiting else []
            if self.waiting and now > self.waiting[0] + LOCK_TIMEOUT + 1 and not self.lease_was_held:
                with contextlib.suppress(lease.LeaseHeldError):
                    lease.acquire(shop.state("lb1"), owner="another run", reason="", ttl=1, check_mode=True)
                    raise AssertionError("another run could take the lock while the tool waited")
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
    assert f"it was tried {RETRIES + 1} times" in said(refused)
    assert not refused.ran("Switch")
    assert state == (live, served, "abandoned", "")
    assert vain.lease_was_held
    assert played.code == 0, played.output
    assert shop.served()["version"] == version
    assert "'note'" in shop.schema()

    verdict = judge(ledger)
    assert verdict.ok, verdict.reasons
    assert set(verdict.versions) == {served, version}
    figures("before", ledger, begun - 3, begun)
    _, longest = figures("while it waits", ledger, vain.waiting[0], vain.waiting[-1])
    # Who asks for the table stands in line behind the statement that waits for it, and no longer than that waits.
    assert longest < 1000 * (LOCK_TIMEOUT + 2)
    p99, _ = figures("while the index is built", ledger, well.indexing[0] - 0.5, well.indexing[-1] + 0.5)
    assert p99 < 1000
