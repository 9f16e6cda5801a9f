# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Rehearsals and their gate, with the real Alembic, on servers that are thrown away."""

from __future__ import annotations

import subprocess
import tempfile
import typing
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.rehearsal_server import find_programs

from tests.unit.plugins.modules.alembic_tree import App, sql
from tests.unit.plugins.modules.db_migrate_called import Called, Result
from tests.unit.plugins.modules.migration_trees import CommandTree, DbmateTree, DjangoTree, KnexTree

if typing.TYPE_CHECKING:
    from tests.postgres import PostgresServer


class Run(typing.Protocol):
    """How the tests call the module."""

    def __call__(self, app: Called, *, check: bool = False, fails: bool = False, **options: typing.Any) -> Result: ...


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the module in this process and insists on how it ends."""

    return lambda app, **more: app.call(capsys, **more)


@pytest.fixture
def app(tmp_path: Path, postgres: PostgresServer, database: str, run: Run) -> App:
    """Return an app whose migrations 0001 to 0003 are applied."""
    made = App(tmp_path, postgres, database)
    run(made)
    return made


def dump(app: App) -> str:
    """Return all that is in the target: schema, rows and sequences."""
    programs = find_programs(None, major=int(app.query("SHOW server_version_num")[0][0]) // 10_000)
    command = [programs.program("pg_dump"), "--restrict-key=none", "--inserts", app.server.url(app.database)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_what_is_marked_as_expand_and_measured_as_contract_is_refused_and_the_target_is_only_read(
    app: App, run: Run
) -> None:
    app.query("INSERT INTO users (name, mail) SELECT 'n', 'm' FROM generate_series(1, 50)")
    app.query("UPDATE users SET mail = 'm'")
    app.query("ANALYZE users")
    app.add(
        "0004",
        "0003",
        "notes",
        sql("CREATE TABLE notes (id int); CREATE INDEX ON users (name)"),
        down=sql("DROP TABLE notes"),
    )
    up = sql("ALTER TABLE users ALTER mail SET NOT NULL; ALTER TABLE users DROP name")
    app.add("0005", "0004", "tidy", up, down=sql("ALTER TABLE users ADD name text"), header='phase = "expand"')
    before = dump(app)

    found = run(app, state="rehearsed")
    told = found["rehearsal"]
    assert (found["changed"], told["made"], told["cached"], told["level"]) == (False, True, False, "contract")
    assert dump(app) == before
    levels = {(one["level"], one["name"], *one["revisions"]) for one in told["changes"]}
    assert levels >= {
        ("contract", "public.users.mail", "0005"),
        ("contract", "public.users.name", "0005"),
        ("expand", "public.notes", "0004"),
    }
    assert told["tables"]["public.users"]["rows"] == 51
    assert told["down"]["restores"] is False
    assert any("column public.users.mail: notnull was False, is True" in one for one in told["down"]["differences"])
    assert "public.notes.id" in told["down"]["loses"]
    assert told["again"]["reached"] is True

    refused = run(app, rehearsal="required", fails=True)
    assert "contract: column public.users.name was dropped (0005, marked expand)" in refused["msg"]
    assert refused["rehearsal"]["cached"] is True
    assert run(app, rehearsal="required", check=True, fails=True)["msg"] == refused["msg"]
    assert dump(app) == before

    app.add("0005", "0004", "tidy", up, down="pass", header='phase = "expand"')
    unmade = run(app, rehearsal="required", check=True)["rehearsal"]
    assert unmade["made"] is False
    assert unmade["report"] == ["not rehearsed: check mode rehearses nothing, so this gate is still to come"]
    app.add("0005", "0004", "tidy", up, down=sql("ALTER TABLE users ADD name text"), header='phase = "expand"')
    done = run(app, rehearsal="required", allow_contract=True)
    assert {one["revision"]: one["phase"] for one in done["applied"]} == {"0004": "unmarked", "0005": "contract"}
    assert done["rehearsal"]["cached"] is True


def test_what_needs_a_look_is_refused_until_somebody_has_looked(app: App, run: Run) -> None:
    """The tool is an ordinary user here, who owns the tables and may make nothing else."""
    app.query("CREATE ROLE ordinary LOGIN PASSWORD 'own'")
    try:
        app.query("ALTER TABLE users OWNER TO ordinary")
        app.query("ALTER TABLE alembic_version OWNER TO ordinary")
        app.url(f"postgresql+psycopg://ordinary:own@127.0.0.1:{app.server.port}/{app.database}?sslmode=disable")
        app.add("0004", "0003", "fill", sql("UPDATE users SET mail = 'm'"), header='phase = "expand"')
        refused = run(app, rehearsal="required", fails=True)
        assert "review: table public.users had rows changed (UPDATE) (0004, marked expand)" in refused["msg"]
        assert "allow_review" in refused["msg"]
        assert run(app, rehearsal="required", allow_review=True)["current"] == ["0004"]
    finally:
        app.query("REASSIGN OWNED BY ordinary TO postgres")
        app.query("DROP ROLE ordinary")


@pytest.mark.slow
def test_an_empty_database_is_rehearsed_from_the_first_migration_on(
    tmp_path: Path, postgres: PostgresServer, database: str, run: Run
) -> None:
    app = App(tmp_path, postgres, database)
    app.add("0002", "0001", "mark", sql("SELECT 1"))
    done = run(app, rehearsal="required")
    assert done["current"] == ["0003"]
    assert (done["rehearsal"]["level"], done["rehearsal"]["down"]["restores"]) == ("expand", True)
    assert done["rehearsal"]["again"]["equal"] is True


def test_a_migration_that_fails_in_the_rehearsal_is_refused_or_said_aloud(app: App, run: Run) -> None:
    app.add("0004", "0003", "needs a row", sql("DO $$BEGIN ASSERT (SELECT count(*) FROM users) > 0; END$$"))
    refused = run(app, rehearsal="required", fails=True)
    assert "in a shadow of the target and ended with 1" in refused["msg"]
    assert "the target was not touched" in refused["msg"]
    assert app.query("SELECT version_num FROM alembic_version") == [("0003",)]
    done = run(app, rehearsal="report")
    assert done["current"] == ["0004"]
    assert done["rehearsal"]["report"][0].startswith("not rehearsed: the tool was to apply 0004")


def test_a_tool_that_goes_elsewhere_than_it_is_told_to_is_not_rehearsed(app: App, run: Run) -> None:
    before = (app.tree / "migrations" / "env.py").read_text(encoding="utf-8")
    fixed = before.replace(
        'os.environ["DATABASE_URL"].partition("?")[0]', repr(app.server.url(app.database, driver="+psycopg"))
    )
    assert fixed != before
    (app.tree / "migrations" / "env.py").write_text(fixed, encoding="utf-8")
    app.add("0004", "0003", "drop", sql("DROP TABLE users"), header='phase = "expand"')
    refused = run(app, rehearsal="required", fails=True)
    assert "a tool that reads a database although DATABASE_URL names none that exists" in refused["msg"]
    assert app.users() == 1


def test_without_programs_a_rehearsal_is_refused_or_left_out_with_a_word(app: App, run: Run) -> None:
    app.add("0004", "0003", "nothing", sql("SELECT 1"))
    elsewhere: Result = {"rehearsal_bin": "/nonexistent"}
    refused = run(app, rehearsal="required", fails=True, **elsewhere)
    assert "no programs of PostgreSQL in /nonexistent" in refused["msg"]
    assert "install the server package" in refused["msg"]
    done = run(app, rehearsal="report", **elsewhere)
    assert done["rehearsal"]["made"] is False
    assert done["current"] == ["0004"]
    assert "rehearsal" not in run(app)


@pytest.mark.slow
def test_a_table_of_the_tool_with_a_name_of_its_own_has_to_be_named(
    tmp_path: Path, postgres: PostgresServer, database: str, run: Run
) -> None:
    app = App(tmp_path, postgres, database)
    text = (app.tree / "migrations" / "env.py").read_text(encoding="utf-8")
    own = text.replace("configure(connection=connection)", 'configure(connection=connection, version_table="steps")')
    (app.tree / "migrations" / "env.py").write_text(own, encoding="utf-8")
    run(app)
    app.add("0004", "0003", "more", sql("ALTER TABLE users ADD more text"), down=sql("ALTER TABLE users DROP more"))
    assert (
        "name the tables in which the tool keeps what it has applied in rehearsal_tables"
        in run(app, state="rehearsed", fails=True)["msg"]
    )
    told = run(app, state="rehearsed", rehearsal_tables=["steps"])["rehearsal"]
    assert [one["name"] for one in told["changes"]] == ["public.users.more"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [CommandTree, DbmateTree, DjangoTree, KnexTree])
def test_other_tools_are_rehearsed_as_they_are(
    kind: type[CommandTree | DbmateTree | DjangoTree | KnexTree],
    tmp_path: Path,
    postgres: PostgresServer,
    database: str,
    run: Run,
) -> None:
    app = kind(tmp_path, postgres, database)
    run(app)
    app.add(4, "ALTER TABLE users ADD nick text", "ALTER TABLE users DROP nick")
    app.add(5, "ALTER TABLE users RENAME name TO title", "SELECT 1")
    before = app.query("SELECT count(*) FROM users")
    told = run(app, state="rehearsed")["rehearsal"]
    assert {(one["level"], one["name"], *one["revisions"]) for one in told["changes"]} == {
        ("contract", "public.users.name", app.revision(5)),
        ("expand", "public.users.nick", app.revision(4)),
    }
    assert told["down"]["differences"] == [
        "column public.users.name is missing",
        "column public.users.title is left over",
    ]
    assert told["down"]["loses"] == ["public.users.nick"]
    assert "renamed to title" in run(app, rehearsal="required", fails=True)["msg"]
    assert app.query("SELECT count(*) FROM users") == before


@pytest.mark.slow
def test_a_large_schema_and_a_large_table(app: App, run: Run) -> None:
    app.query(
        "DO $$BEGIN FOR n IN 1..300 LOOP EXECUTE format('CREATE TABLE t%s (id serial PRIMARY KEY, a text)', n); END LOOP; END$$"
    )
    app.query("INSERT INTO users (name) SELECT repeat('x', 50) FROM generate_series(1, 300000)")
    app.query("ANALYZE users")
    app.add("0004", "0003", "fill", sql("ALTER TABLE users ADD key uuid NOT NULL DEFAULT gen_random_uuid()"))
    told = run(app, state="rehearsed")["rehearsal"]
    assert told["tables"]["public.users"]["bytes"] > 20 << 20
    assert any("writes public.users" in line and "MB" in line for line in told["report"])


# --- the way down, while what is applied serves ---

CHECK = ("ALTER TABLE users ADD CONSTRAINT named CHECK (name <> '')", "ALTER TABLE users DROP CONSTRAINT named")


def test_a_way_down_that_who_serves_survives_passes(app: App, run: Run) -> None:
    app.add("0004", "0003", "named", sql(CHECK[0]), down=sql(CHECK[1]), header='phase = "contract"')
    run(app, allow_contract=True)
    before = dump(app)
    asked: Result = {"rehearsal": "required", "revision": "0003"}
    refused = run(app, state="rehearsed", way="down", **asked, fails=True)
    assert "review: constraint public.users.named was dropped" in refused["msg"]
    assert "whether the version that serves can live with this" in refused["msg"]
    told = run(app, state="rehearsed", way="down", **asked, allow_review=True)["rehearsal"]
    assert (told["way"], told["level"], told["down"]["restores"], told["down"]["loses"]) == ("down", "review", True, [])
    assert "the way up restores the schema" in told["report"]
    assert "the second way down leads to the same schema" in told["report"]
    assert dump(app) == before
    done = run(app, state="downgraded", keep=["0003"], rehearsal="required", allow_review=True)
    assert [(one["revision"], one["phase"]) for one in done["undone"]] == [("0004", "contract")]
    assert (done["current"], done["rehearsal"]["cached"]) == (["0003"], True)


@pytest.mark.parametrize(
    ("up", "down", "said"),
    [
        pytest.param(
            "ALTER TABLE users DROP mail",
            "ALTER TABLE users ADD mail text",
            "what was in public.users.mail is gone since they were applied",
            id="data that is gone",
        ),
        pytest.param(
            "ALTER TABLE users RENAME mail TO post",
            "ALTER TABLE users RENAME post TO mail",
            "contract: column public.users.post",
            id="a name that who serves needs",
        ),
        pytest.param(
            "ALTER TABLE users ADD born date",
            "ALTER TABLE users DROP born",
            "contract: column public.users.born was dropped",
            id="a column that who serves needs",
        ),
    ],
)
def test_a_way_down_that_who_serves_or_who_comes_does_not_survive_is_refused(
    app: App, run: Run, up: str, down: str, said: str
) -> None:
    app.add("0004", "0003", "more", sql(up), down=sql(down), header='phase = "contract"')
    run(app, allow_contract=True)
    before = dump(app)
    ways: tuple[Result, ...] = ({"state": "rehearsed", "way": "down"}, {"state": "downgraded"})
    for asked in ways:
        refused = run(app, **asked, keep=["0003"], rehearsal="required", fails=True)
        assert said in refused["msg"]
        assert "measured in a rehearsal of the way down, nothing was changed" in refused["msg"]
    assert dump(app) == before


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> typing.Iterator[Path]:
    """A directory for what is temporary that others may enter: root's server runs as one of them."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        monkeypatch.setenv("TMPDIR", name)
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)


def test_a_server_that_turns_out_not_to_be_needed_is_gone_and_is_not_made_again(
    app: App, run: Run, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made while the tool is asked what is pending: that may be nothing, or what was rehearsed before."""
    started: list[list[str]] = []
    popen = subprocess.Popen

    def noted(command: list[str], *more: typing.Any, **options: typing.Any) -> typing.Any:
        started.append([str(word) for word in command])
        return popen(command, *more, **options)

    monkeypatch.setattr(subprocess, "Popen", noted)

    def servers() -> int:
        count = sum(any(word.endswith("/postgres") for word in words) and "-D" in words for words in started)
        started.clear()
        return count

    assert "nothing to rehearse" in run(app, state="rehearsed")["msg"]
    assert (servers(), list(room.glob("baton-rehearsal-*"))) == (1, [])
    app.add("0004", "0003", "notes", sql("CREATE TABLE notes (id int)"), down=sql("DROP TABLE notes"))
    assert not run(app, state="rehearsed")["rehearsal"]["cached"]
    assert servers() == 1
    assert run(app, state="rehearsed")["rehearsal"]["cached"]
    assert (servers(), list(room.glob("baton-rehearsal-*"))) == (0, [])
