# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What is special about Django: migrations of several apps, ones that replace others, branches, and foreign settings."""

from __future__ import annotations

import os
import subprocess
import typing

import pytest

from tests.unit.plugins.modules.db_migrate_called import Run
from tests.unit.plugins.modules.migration_trees import DjangoTree, names

if typing.TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres import PostgresServer

pytestmark = pytest.mark.slow

MIGRATION = """
from django.db import migrations
class Migration(migrations.Migration):
    {replaces}
    dependencies = {dependencies}
    operations = {operations}
"""
STOCK = 'migrations.RunSQL("CREATE TABLE stock (id int)", "DROP TABLE stock")'


@pytest.fixture
def app(tmp_path: Path, postgres: PostgresServer, database: str) -> DjangoTree:
    return DjangoTree(tmp_path, postgres, database)


def write(
    app: DjangoTree, label: str, name: str, *, after: list[tuple[str, str]], operations: str = "", replaces: str = ""
) -> None:
    """Write a migration of any app."""
    text = MIGRATION.format(replaces=replaces or "pass", dependencies=after, operations=f"[{operations}]")
    (app.tree / label / "migrations" / f"{name}.py").write_text(text, encoding="utf-8")


def test_going_down_undoes_what_came_later_in_any_app(app: DjangoTree, run: Run) -> None:
    run(revision=app.revision(2))
    write(app, "stock", "0001_initial", after=[("shop", "0002_step")], operations=STOCK)
    result = run()
    assert set(names(result["applied"])) == {app.revision(3), "stock.0001_initial"}
    assert result["current"] == [app.revision(3), "stock.0001_initial"]
    down = run(state="downgraded", revision=app.revision(2))
    assert set(names(down["undone"])) == {app.revision(3), "stock.0001_initial"}
    assert app.query("SELECT to_regclass('stock')") == [(None,)]
    assert app.users() == 1


def test_a_migration_that_replaces_others_takes_their_place_in_the_history(app: DjangoTree, run: Run) -> None:
    """Django notes it as the newest one, and undoing that would drop all that is older than the last real one."""
    run()
    replaces = f"replaces = {[('shop', f'{number:04}_step') for number in (1, 2)]}"
    write(app, "shop", "0001_squashed_0002_step", after=[], replaces=replaces, operations=STOCK)
    manage = [app.params["python"], "manage.py", "migrate", "--no-input"]
    environment = {**os.environ, "DATABASE_URL": app.server.url(app.database)}
    subprocess.run(manage, cwd=app.tree, env=environment, check=True, capture_output=True)
    noted = app.query("SELECT name FROM django_migrations WHERE app = 'shop' ORDER BY id DESC LIMIT 1")
    assert noted == [("0001_squashed_0002_step",)]
    where = run(state="gathered")
    assert (where["pending"], where["ahead"], where["current"]) == ([], [], [app.revision(3)])
    assert names(run(state="downgraded", revision="-1")["undone"]) == [app.revision(3)]
    assert app.users() == 1


def test_the_rest_of_what_is_replaced_is_applied_as_what_it_was(app: DjangoTree, run: Run) -> None:
    """Django changes its mind about which migrations there are, in the middle of the run."""
    run(revision=app.revision(1))
    replaces = f"replaces = {[('shop', f'{number:04}_step') for number in (1, 2)]}"
    write(app, "shop", "0001_squashed_0002_step", after=[], replaces=replaces, operations=STOCK)
    assert names(run()["applied"]) == app.revisions(2, 3)
    assert run(state="gathered")["up_to_date"]
    assert app.users() == 1


def test_the_rows_of_an_app_that_was_removed_hold_nothing_up(app: DjangoTree, run: Run) -> None:
    write(app, "stock", "0001_initial", after=[], operations=STOCK)
    run(revision="stock.0001_initial")
    run(revision=app.revision(2))
    settings = app.tree / "settings.py"
    settings.write_text(settings.read_text(encoding="utf-8").replace(', "stock"', ""), encoding="utf-8")
    result = run()
    assert (names(result["applied"]), result["ahead"], result["up_to_date"]) == ([app.revision(3)], [], True)


def test_a_way_down_that_raises_is_refused_before_anything_is_undone(app: DjangoTree, run: Run) -> None:
    write(app, "shop", "0004_step", after=[("shop", "0003_step")], operations='migrations.RunSQL("SELECT 1")')
    run()
    assert run(state="downgraded", revision=app.revision(2), fails=True)["irreversible"] == [app.revision(4)]
    assert run(state="gathered")["current"] == [app.revision(4)]


def test_two_leaves_of_one_app_are_refused(app: DjangoTree, run: Run) -> None:
    write(app, "shop", "0003_other", after=[("shop", "0002_step")], operations=STOCK)
    assert "2 heads: shop.0003_other, shop.0003_step" in run(fails=True)["msg"]
    assert "makemigrations --merge" in run(revision="shop.0003_other", fails=True)["msg"]


def test_what_django_could_only_undo_together_with_another_one_is_refused(app: DjangoTree, run: Run) -> None:
    write(app, "shop", "0003_other", after=[("shop", "0002_step")], operations=STOCK)
    write(app, "shop", "0004_merge", after=[("shop", "0003_other"), ("shop", "0003_step")])
    run()
    assert names(run(state="downgraded", revision="-1")["undone"]) == ["shop.0004_merge"]
    refused = run(state="downgraded", revision="-1", fails=True)
    assert f"both applied on top of {app.revision(2)}" in refused["msg"]
    assert run(state="gathered")["last_attempt"] == ""
    assert names(run(state="downgraded", revision=app.revision(1))["undone"])[2:] == [app.revision(2)]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("django.db.backends.postgresql", "django.db.backends.sqlite3", "whose database 'default' is sqlite"),
        ("DATABASES =", "nonsense\nDATABASES =", "NameError"),
        (
            "url = urllib",
            'import psycopg; psycopg.connect(os.environ["DATABASE_URL"]).execute("CREATE TABLE x ()")\nurl = urllib',
            "writes to the database while it is only read",
        ),
    ],
)
def test_settings_that_do_not_fit_are_told(app: DjangoTree, run: Run, old: str, new: str, said: str) -> None:
    settings = app.tree / "settings.py"
    settings.write_text(settings.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    assert said in run(state="gathered", fails=True)["msg"]
    assert app.query("SELECT to_regclass('x')") == [(None,)]


def test_what_is_not_there_yet_fails_a_run_but_not_a_plan(app: DjangoTree, run: Run) -> None:
    (app.tree / "manage.py").rename(app.tree / "other.py")
    assert "no manage.py in" in run(fails=True)["msg"]
    assert run(check=True)["known"] is False
    assert run(check=True, django_manage="other.py")["known"] is True
    assert "no django" in run(fails=True, django_manage="other.py", python="/usr/bin/python3")["msg"]
