from __future__ import annotations
import typing
import pytest
from tests.unit.plugins.modules.db_migrate_called import Run
from tests.unit.plugins.modules.migration_trees import LiquibaseTree, names
@pytest.fixture
def app(tmp_path, postgres, database):
    return LiquibaseTree(tmp_path, postgres, database)
def test_x(app, run):
    print(run(state="gathered"))
    r = run()
    print(r)
