# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A rehearsal in staging counts in production where both are the same, and only there."""

from __future__ import annotations

import json
import typing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.plugins.modules.alembic_tree import App, sql
from tests.unit.plugins.modules.db_migrate_called import Called, Result
from tests.unit.plugins.modules.migration_trees import DjangoTree

if typing.TYPE_CHECKING:
    from tests.postgres import PostgresServer

SEEN = "ALTER TABLE users ADD seen int"


@dataclass
class Places:
    """The same release on the migrators of two environments, each with a database of its own."""

    staging: Called
    production: Called
    capsys: pytest.CaptureFixture[str]

    @property
    def kept(self) -> Path:
        """What staging's rehearsal has found."""
        return self.staging.root / "state" / "rehearsal.json"

    def rehearsed(self, **more: typing.Any) -> Result:
        """Rehearse in production."""
        return self.production.call(self.capsys, state="rehearsed", rehearsal_known=str(self.kept), **more)


def _more(app: Called) -> None:
    """Add one migration."""
    if isinstance(app, App):
        app.add("0004", "0003", "seen", sql(SEEN), down=sql("ALTER TABLE users DROP seen"))
    else:
        assert isinstance(app, DjangoTree)
        app.add(4, SEEN, "ALTER TABLE users DROP seen")


def _places(
    kind: type[App | DjangoTree], root: Path, server: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> Places:
    made = []
    for name in ("staging", "production"):
        (root / name).mkdir()
        app = kind(root / name, server, server.create_database())
        app.call(capsys)
        _more(app)
        # What the installation of a release leaves there: another time in each place.
        (app.tree / ".baton-release.json").write_text(json.dumps({"installed_at": name}))
        made.append(app)
    places = Places(made[0], made[1], capsys)
    assert not places.staging.call(capsys, state="rehearsed")["rehearsal"]["cached"]
    return places


@pytest.fixture
def places(tmp_path: Path, postgres: PostgresServer, capsys: pytest.CaptureFixture[str]) -> Places:
    return _places(App, tmp_path, postgres, capsys)


def test_where_both_are_the_same_it_counts_and_is_handed_on(places: Places) -> None:
    told = places.rehearsed()["rehearsal"]
    assert (told["made"], told["cached"]) == (True, True)
    assert "rehearsed before, on " in told["report"][0]
    assert json.loads((places.production.root / "state" / "rehearsal.json").read_text()) == json.loads(
        places.kept.read_text()
    )
    done = places.production.call(places.capsys, rehearsal="required", rehearsal_known=str(places.kept))
    assert (done["changed"], done["rehearsal"]["cached"]) == (True, True)


def test_what_was_applied_at_another_time_was_applied(
    tmp_path: Path, postgres: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tables of Django say when, those of Alembic do not."""
    assert _places(DjangoTree, tmp_path, postgres, capsys).rehearsed()["rehearsal"]["cached"]


def test_where_they_differ_it_does_not(places: Places) -> None:
    own = places.production.root / "state" / "rehearsal.json"
    index, column = (
        "CREATE INDEX by_hand ON users (name)",
        "ALTER TABLE alembic_version ADD note text DEFAULT 'by hand'",
    )
    for differ, undo in ((index, "DROP INDEX by_hand"), (column, "ALTER TABLE alembic_version DROP note")):
        places.production.query(differ)
        assert not places.rehearsed()["rehearsal"]["cached"], differ
        places.production.query(undo)
        own.unlink()
    assert places.rehearsed()["rehearsal"]["cached"]
    (places.production.tree / "more.txt").write_text("another build")
    assert not places.rehearsed()["rehearsal"]["cached"]


def test_rows_are_asked_in_each_place(places: Places) -> None:
    """They are as many as there are, wherever the rest was rehearsed."""
    places.production.query("INSERT INTO users (name) SELECT 'n' FROM generate_series(1, 7000)")
    places.production.query("ANALYZE users")
    told = places.rehearsed()["rehearsal"]
    assert told["cached"]
    assert told["tables"]["public.users"]["rows"] > 7000 - 1


@pytest.mark.parametrize("content", ["", '{"digest": %s, "found": []}'])
def test_what_knows_nothing_is_no_rehearsal(places: Places, content: str) -> None:
    digest = json.dumps(json.loads(places.kept.read_text())["digest"])
    places.kept.unlink()
    if content:
        places.kept.write_text(content.replace("%s", digest))
    assert not places.rehearsed()["rehearsal"]["cached"]


def test_a_file_that_is_none_of_ours_is_said(places: Places) -> None:
    places.kept.write_text("rehearsed, honestly")
    assert "does not hold a JSON object" in places.rehearsed(fails=True)["msg"]
