"""A schema change for each version, and how often each of them was really applied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import psycopg

__all__ = ["applied", "doubled_or_lost", "files", "revision"]

FIRST_OF_OURS_ON = "0002"
MIGRATION = '''"""Proof of its own application: a row that no constraint keeps from being there twice."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"
phase = "expand"


def upgrade() -> None:
    op.execute("create table if not exists chaos_applied (revision text not null, at timestamptz not null default now())")
    op.execute("insert into chaos_applied (revision) values ('{revision}')")
    op.create_table("chaos_{revision}", sa.Column("id", sa.Integer, primary_key=True))
    op.execute("select pg_sleep(0.3)")


def downgrade() -> None:
    op.drop_table("chaos_{revision}")
'''


def revision(number: int) -> str:
    """Return the name of the ``number``-th migration, counted from 1."""
    return f"c{number:04}"


def files(count: int) -> dict[str, str]:
    """Return the first ``count`` migrations, by path in the release: a tree has all that came before its own."""
    names = [FIRST_OF_OURS_ON, *map(revision, range(1, count + 1))]
    return {
        f"migrations/versions/{name}.py": MIGRATION.format(revision=name, before=before)
        for before, name in zip(names, names[1:], strict=False)
    }


def applied(url: str) -> tuple[Counter[str], Sequence[str]]:
    """Return how often each migration was applied in the database at ``url``, and where the schema is."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        at = [str(row[0]) for row in connection.execute("select version_num from alembic_version").fetchall()]
        there = connection.execute("select to_regclass('chaos_applied') is not null").fetchone()
        rows = connection.execute("select revision from chaos_applied").fetchall() if there and there[0] else []
        return Counter(str(row[0]) for row in rows), at


def doubled_or_lost(url: str) -> list[str]:
    """Return what is wrong: a migration up to where the schema is has to be applied once, and one beyond it never."""
    counts, at = applied(url)
    if len(at) != 1:
        return [f"the schema is at {at}"]
    reached = int(at[0][1:]) if at[0].startswith("c") else 0
    wrong = [f"{name} was applied {count} times" for name, count in counts.items() if count != 1]
    wrong += [f"{name} is applied, but the schema is at {at[0]}" for name in counts if int(name[1:]) > reached]
    wrong += [f"{name} is lost" for name in map(revision, range(1, reached + 1)) if name not in counts]
    return wrong
