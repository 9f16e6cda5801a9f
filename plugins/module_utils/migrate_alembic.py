# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The migration tool Alembic, as the app brings it along in its release tree."""

from __future__ import annotations

import inspect
import json
import secrets
import shutil
import typing

from ansible_collections.baton.release.plugins.module_utils import _alembic_reader
from ansible_collections.baton.release.plugins.module_utils._psycopg import database_refusal
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_plan import Revision, Schema
from ansible_collections.baton.release.plugins.module_utils.migration_tool import NotThereYet, run, surroundings

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_lock import LockSession
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Ended, ToolSettings

__all__ = ["Alembic"]

_READ_TIMEOUT = 60.0  # seconds
# Since PostgreSQL 14 a running statement can notice that its client is gone, and not run on beside the next attempt.
_CLIENT_CHECK_SINCE = 140000


class Alembic:
    """The app's Alembic: where its tree and the database are, and the way up and down."""

    def __init__(self, settings: ToolSettings) -> None:
        """Find what the app brought.

        Raises:
            NotThereYet: the tree, its alembic.ini, the interpreter or the database URL is not there.
            BatonError: an env file cannot be read.
        """
        self._settings = settings
        self._require()
        self.surroundings = surroundings(settings)

    def schema(self) -> Schema:
        """Read where the tree and the database are; writes nothing.

        Raises:
            BatonError: the interpreter has no Alembic, or the app's env.py failed.
        """
        marker = f"baton-{secrets.token_hex(8)}:"
        # The server itself refuses whatever env.py might want to write on the way.
        options = {"PGOPTIONS": f"{self.surroundings.variables['PGOPTIONS']} -c default_transaction_read_only=on"}
        ended = self._run(
            ["-", marker],
            options,
            _READ_TIMEOUT,
            program=inspect.getsource(_alembic_reader),
        )
        line = next((line for line in ended.output.splitlines() if line.startswith(marker)), None)
        if ended.returncode != 0 or line is None:
            raise self._unreadable(ended)
        return self._parse(json.loads(line[len(marker) :]))

    def upgrade(self, targets: tuple[str, ...], session: LockSession) -> Ended:
        """Run ``alembic upgrade`` up to ``targets`` while ``session`` holds the lock."""
        return self._migrate(["upgrade", targets[0] if len(targets) == 1 else "heads"], session)

    def downgrade(self, target: str, session: LockSession) -> Ended:
        """Run ``alembic downgrade`` down to ``target`` while ``session`` holds the lock."""
        return self._migrate(["downgrade", target], session)

    def _migrate(self, command: list[str], session: LockSession) -> Ended:
        options = self.surroundings.variables["PGOPTIONS"]
        if session.server_version >= _CLIENT_CHECK_SINCE:
            options += " -c client_connection_check_interval=1000"
        return self._run(
            ["-m", "alembic", *command], {"PGOPTIONS": options}, self._settings.timeout, keep_open=(session.fileno,)
        )

    def _run(
        self,
        arguments: list[str],
        options: dict[str, str],
        timeout: float,
        *,
        program: str = "",
        keep_open: tuple[int, ...] = (),
    ) -> Ended:
        return run(
            [self._settings.python, *arguments],
            project_dir=self._settings.project_dir,
            variables={**self.surroundings.variables, **options},
            secrets=self.surroundings.secrets,
            timeout=timeout,
            program=program,
            keep_open=keep_open,
        )

    def _require(self) -> None:
        project, python = self._settings.project_dir, self._settings.python
        unpack = "unpack the app's artifact on this host first, or correct the option"
        if not project.is_dir():
            raise NotThereYet(
                found=f"no directory {project}", expected="the app's release tree", fix=f"{unpack} project_dir"
            )
        if not (project / "alembic.ini").is_file():
            raise NotThereYet(
                found=f"no alembic.ini in {project}",
                expected="the app's release tree with its alembic.ini",
                fix=f"{unpack} project_dir",
            )
        if shutil.which(python) is None:
            raise NotThereYet(
                found=f"no interpreter {python}",
                expected="the Python that the app's own tool runs under",
                fix=f"{unpack} python",
            )

    def _parse(self, answer: dict[str, typing.Any]) -> Schema:
        if "missing" in answer:
            raise BatonError(
                found=f"{self._settings.python} has no {answer['missing']} with this environment",
                expected="the app's interpreter to have the app's migration tool",
                fix="add alembic to the app's requirements, or correct the options python and environment (PYTHONPATH)",
            )
        if len(answer["current"]) != 1:
            raise BatonError(
                found=f"an env.py that migrates {len(answer['current'])} databases",
                expected="exactly one database for each db_migrate task",
                fix="give each database a tree with an alembic.ini of its own",
            )
        revisions = tuple(Revision(**{**one, "parents": tuple(one["parents"])}) for one in answer["revisions"])
        return Schema(tuple(sorted(answer["current"][0])), tuple(sorted(answer["heads"])), revisions)

    def _unreadable(self, ended: Ended) -> BatonError:
        found = f"the app's env.py or one of its revisions failed: {ended.headline}"
        fix = "read output, correct the app's tree or its environment"
        refusal = database_refusal("\n".join(ended.tail))
        if refusal is not None:
            found, fix = refusal
        elif "read-only transaction" in ended.output:
            found, fix = (
                "the app's env.py writes to the database while it is only read",
                "move these statements from env.py into a migration",
            )
        elif ended.returncode is None:
            found, fix = (
                "the app's env.py did not end in time",
                "look for locks on the version table (pg_locks), then run again",
            )
        return BatonError(
            found=found,
            expected="to read the schema's revision from the database",
            fix=f"{fix}; nothing was changed",
            output=ended.tail,
        )
