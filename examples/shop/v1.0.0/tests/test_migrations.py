from alembic.script import ScriptDirectory
from conftest import migrate
from sqlalchemy import create_engine, inspect

from shop.schema import MIGRATIONS
from shop.settings import Settings


def test_up_down_and_up_again(settings: Settings) -> None:
    engine = create_engine(settings.database_url)
    migrate(settings, "head")
    tables = inspect(engine).get_table_names()
    assert {"products", "orders"} <= set(tables)
    migrate(settings, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    migrate(settings, "head")
    assert inspect(engine).get_table_names() == tables
    engine.dispose()


def test_every_migration_says_its_phase() -> None:
    for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions():
        assert script.module.phase in ("expand", "contract"), script.path
