# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""NOT Flyway: a program that takes the arguments and variables that Flyway documents, and answers the JSON that it documents.

No registry that these tests may use has Flyway. This one knows info, migrate and undo for files V<number>__*.sql and U<number>__*.sql in
``migrations``, runs them in a real PostgreSQL, and refuses whatever else it is told. FAKE_FLYWAY_EDITION=oss has no undo, as documented.
"""

from __future__ import annotations

import json
import os
import re
import sys
import typing
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg

Connection = psycopg.Connection[tuple[typing.Any, ...]]
FILE = re.compile(r"([VU])(\d+)__(.*)\.sql")
TABLE = "flyway_schema_history"
FIELDS = "installed_rank int PRIMARY KEY, version text, description text, type text, script text, success boolean"


def main() -> int:
    """Do what the arguments say; return the exit code."""
    words = sys.argv[1:]
    if words[-1:] != ["-outputType=json"]:
        return refuse(f"unexpected arguments: {words}")
    try:
        with connect() as connection:
            answer = {**command(connection, words[:-1]), "database": connection.info.dbname}
    except (psycopg.Error, LookupError, ValueError) as error:
        return refuse(f"Failed to do it\n{'-' * 20}\nSQL State  : x\nMessage    : {error}")
    print("WARNING: what Java says of itself", file=sys.stderr)
    print(json.dumps({**answer, "warnings": [], "operation": words[0]}, indent=2))
    return 0


def refuse(message: str) -> int:
    """Say what went wrong, as JSON."""
    print(json.dumps({"error": {"errorCode": "FAULT", "message": message}}, indent=2))
    return 1


def connect() -> Connection:
    """Go where the variables say, as a driver of Java would: without PGOPTIONS and the like."""
    address = urlsplit(os.environ["FLYWAY_URL"].removeprefix("jdbc:"))
    if "@" in address.netloc or "password" in address.query:
        raise ValueError("a password in an address, which is printed")
    given = {name: values[0] for name, values in parse_qs(address.query).items()}
    return psycopg.connect(
        host=address.hostname,
        port=address.port,
        dbname=unquote(address.path[1:]),
        user=os.environ["FLYWAY_USER"],
        password=os.environ["FLYWAY_PASSWORD"],
        options=given["options"],
        application_name=given["ApplicationName"],
        sslmode=given.get("sslmode", "prefer"),
        autocommit=True,
    )


def command(connection: Connection, words: list[str]) -> dict[str, typing.Any]:
    """Run one command."""
    if words == ["info"]:
        return {"schemaVersion": None, "schemaName": "public", "migrations": rows(connection), "allSchemasEmpty": False}
    if words[0] == "migrate" and len(words) <= 2:
        target = int(words[1].removeprefix("-target=")) if words[1:] else sys.maxsize
        return migrate(connection, target)
    if words == ["undo"]:
        if os.environ.get("FAKE_FLYWAY_EDITION") == "oss":
            raise ValueError("Flyway Redgate Edition Required: undo is not supported by OSS Edition")
        return undo(connection)
    raise ValueError(f"unexpected arguments: {words}")


def files(letter: str) -> dict[int, Path]:
    """Return the files of migrations by their version."""
    found = {}
    for path in sorted(Path("migrations").iterdir()):
        match = FILE.fullmatch(path.name)
        if match and match[1] == letter:
            found[int(match[2])] = path.resolve()
    return found


def history(connection: Connection) -> list[tuple[int, bool, bool]]:
    """Return version, whether it is an undo, and whether it succeeded, in order."""
    there = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [TABLE]).fetchone()
    if not there or not there[0]:
        return []
    noted = connection.execute(f"SELECT version, type, success FROM {TABLE} ORDER BY installed_rank")  # noqa: S608 - a constant
    return [(int(version), kind == "UNDO_SQL", success) for version, kind, success in noted]


def applied(connection: Connection) -> list[int]:
    """Return the versions that are applied now, in order."""
    found: list[int] = []
    for version, undone, success in history(connection):
        if undone:
            found.remove(version)
        elif success:
            found.append(version)
    return found


def rows(connection: Connection) -> list[dict[str, typing.Any]]:
    """Return what info lists."""
    there, back = files("V"), {} if os.environ.get("FAKE_FLYWAY_EDITION") == "oss" else files("U")
    now, lines = applied(connection), []
    noted = history(connection)
    for place, (version, undone, success) in enumerate(noted):
        later = any(one == version and was for one, was, _success in noted[place + 1 :])
        unknown = "Future" if version > max(there, default=0) else "Missing"
        state = "Undone" if later and not undone else "Failed" if not success else "Success"
        lines.append(row(version, state if version in there or undone else unknown, there, back, undone=undone))
    waiting = sorted(set(there) - set(now))
    return lines + [row(one, "Ignored" if now and one < max(now) else "Pending", there, back) for one in waiting]


def row(
    version: int, state: str, there: dict[int, Path], back: dict[int, Path], *, undone: bool = False
) -> dict[str, typing.Any]:
    """Return one line of what info lists."""
    path = there.get(version)
    match = FILE.fullmatch(path.name) if path else None
    return {
        "category": "Undo" if undone else "Versioned",
        "version": str(version),
        "rawVersion": str(version),
        "description": match[3].replace("_", " ") if match else "gone",
        "type": "UNDO_SQL" if undone else "SQL",
        "installedOnUTC": "",
        "state": state,
        "undoable": "" if undone or state == "Undone" else "Yes" if version in back else "No",
        "filepath": str(path or ""),
        "undoFilepath": str(back.get(version) or ""),
        "installedBy": "",
        "executionTime": 0,
    }


def migrate(connection: Connection, target: int) -> dict[str, typing.Any]:
    """Apply what is pending up to the target."""
    connection.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} ({FIELDS})")
    connection.execute("SELECT pg_advisory_lock(77431064)")
    there, now = files("V"), applied(connection)
    failed = [version for version, _undone, success in history(connection) if not success]
    if failed:
        raise ValueError(f"Validate failed: Detected failed migration to version {failed[0]}. Please run repair")
    late = [version for version in there if now and version not in now and version < max(now)]
    if late:
        raise ValueError(f"Validate failed: Detected resolved migration not applied to database: {late[0]}")
    steps = [version for version in there if version not in now and version <= target]
    for version in steps:
        run(connection, there[version], version, "SQL")
    return {"migrations": [{"version": str(one)} for one in steps], "migrationsExecuted": len(steps), "success": True}


def undo(connection: Connection) -> dict[str, typing.Any]:
    """Undo the last one."""
    last = applied(connection)[-1]
    run(connection, files("U")[last], last, "UNDO_SQL")
    return {"undoneMigrations": [{"version": str(last)}], "migrationsUndone": 1}


def run(connection: Connection, path: Path, version: int, kind: str) -> None:
    """Run a file and note it, in one transaction; a file that says so runs outside, and is noted when it fails too."""
    text = path.read_text(encoding="utf-8")
    note = f"INSERT INTO {TABLE} SELECT coalesce(max(installed_rank), 0) + 1, %s, '', %s, %s, %s FROM {TABLE}"  # noqa: S608 - a constant
    if "executeInTransaction=false" in text:
        try:
            for statement in text.split(";"):
                connection.execute(statement.encode())
        except psycopg.Error:
            connection.execute(note.encode(), [str(version), kind, path.name, False])
            raise
        connection.execute(note.encode(), [str(version), kind, path.name, True])
        return
    with connection.transaction():
        connection.execute(text.encode())
        connection.execute(note.encode(), [str(version), kind, path.name, True])


if __name__ == "__main__":
    sys.exit(main())
