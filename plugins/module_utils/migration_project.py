# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The app's release tree with the tool in it: what every driver asks of it, and how its tool is run to read and to change."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import shutil
import subprocess
import time
import typing

from ansible_collections.baton.release.plugins.module_utils import _sqlite
from ansible_collections.baton.release.plugins.module_utils.database_refusals import database_refusal
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_kinds import MYSQL, POSTGRESQL, kind_of
from ansible_collections.baton.release.plugins.module_utils.migration_session import (
    NO_URL,
    READ_ONLY,
    limits,
    session_variables,
)
from ansible_collections.baton.release.plugins.module_utils.migration_tool import (
    NotThereYet,
    Running,
    run,
    surroundings,
)

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_lock import LockSession
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Ended, ToolSettings

__all__ = ["JAVA_READ_TIMEOUT", "Project", "require_program", "require_tree"]

_READ_TIMEOUT = 60.0  # seconds
JAVA_READ_TIMEOUT = 240.0
"""Seconds; on a host that has much else to do Java alone was seen to take a minute to start."""
# Since PostgreSQL 14 a running statement can notice that its client is gone, and not run on beside the next attempt.
_CLIENT_CHECK_SINCE = 140000
_READ_ONLY = re.compile("read.only transaction", re.IGNORECASE)
_UNPACK = "unpack the app's artifact on this host first, or correct the option"


def _marker() -> str:
    return f"baton-{secrets.token_hex(8)}:"


class Project:
    """A release tree on this host, and the environment of its tool."""

    def __init__(self, settings: ToolSettings, *, configuration: str, tool: str, url_for: str = NO_URL) -> None:
        """Work out the environment.

        Args:
            settings: how the tool is run.
            configuration: the file of the tree that tells the tool what to do, for messages.
            tool: what the tool is called, for messages.
            url_for: who reads the URL of a database of MySQL, as ``migration_session`` has it.

        Raises:
            NotThereYet: the database URL is not there.
            BatonError: an env file cannot be read.
        """
        self._settings, self._configuration, self._tool, self._url_for = settings, configuration, tool, url_for
        self._until: float | None = None
        self.surroundings = surroundings(settings)
        self.kind = kind_of(self.surroundings.url)

    def ask(self, argv: typing.Sequence[str], *, program: str) -> dict[str, typing.Any]:
        """Run ``argv`` and a marker with ``program`` on its standard input, and return the JSON object on the line with the marker.

        Raises:
            BatonError: it failed, or the tool is not there.
        """
        marker = _marker()
        return self._answer(argv[0], marker, self.read([*argv, marker], program=program))

    @contextlib.contextmanager
    def asking_ahead(self, argv: typing.Sequence[str]) -> typing.Iterator[typing.Callable[[], dict[str, typing.Any]]]:
        """Run ``argv`` and a marker as in :meth:`ask`, but for a program that first waits for the end of its standard input.

        What is returned ends that, and then returns the answer, or raises, as ``ask`` would.
        """
        marker, around = _marker(), self.surroundings
        with contextlib.ExitStack() as meanwhile:
            running = meanwhile.enter_context(
                Running(
                    [*argv, marker],
                    project_dir=self._settings.project_dir,
                    variables={**around.variables, **self._to_read(None, meanwhile)},
                    secrets=around.secrets,
                    stdin=subprocess.PIPE,
                    account=around.account,
                )
            )

            def answer() -> dict[str, typing.Any]:
                running.go_on()
                return self._answer(argv[0], marker, running.ended(_READ_TIMEOUT))

            yield answer

    def _answer(self, program: str, marker: str, ended: Ended) -> dict[str, typing.Any]:
        line = next((line for line in ended.output.splitlines() if line.startswith(marker)), None)
        if ended.returncode != 0 or line is None:
            raise self.unreadable(ended)
        answer: dict[str, typing.Any] = json.loads(line[len(marker) :])
        if "missing" in answer:
            raise BatonError(
                found=f"{program} has no {answer['missing']} with this environment",
                expected=f"the app to have its migration tool, {self._tool}",
                fix=f"add {self._tool} to what the app brings along, or correct the interpreter and the environment in the options",
            )
        return answer

    def read(
        self,
        argv: typing.Sequence[str],
        *,
        program: str = "",
        more: typing.Mapping[str, str] | None = None,
        timeout: float = _READ_TIMEOUT,
    ) -> Ended:
        """Run ``argv``; the server itself refuses whatever it might want to write, where the tool can be told to ask for that.

        Args:
            argv: the command.
            program: text for its standard input.
            more: variables on top of the environment.
            timeout: seconds that it may take.
        """
        with contextlib.ExitStack() as meanwhile:
            own = self._to_read(more, meanwhile)
            return self._run(argv, {**(more or {}), **own}, timeout, program=program)

    def _to_read(
        self, more: typing.Mapping[str, str] | None, meanwhile: contextlib.ExitStack
    ) -> typing.Mapping[str, str]:
        """Return the variables with which a tool writes nothing, as long as ``meanwhile`` lasts."""
        url, variable = self.surroundings.url, self._settings.database_url_variable
        if self.kind == POSTGRESQL:
            return {"PGOPTIONS": self.options_to_read(more)}
        if self.kind == MYSQL:
            return session_variables(variable, url, READ_ONLY, self._url_for)
        instead = meanwhile.enter_context(_sqlite.stand_in(url))
        return {variable: instead} if instead else {}

    def change(
        self,
        commands: typing.Iterable[typing.Sequence[str]],
        session: LockSession,
        *,
        more: typing.Mapping[str, str] | None = None,
    ) -> Ended:
        """Run the commands one after the other while ``session`` holds the lock, up to the first that fails; return how it ended.

        All commands of all calls together have the time that the settings allow, from the first one on.
        """
        variables = {**(more or {}), **self._changing(session, more)}
        if self._until is None:
            self._until = time.monotonic() + self._settings.timeout
        ended = None
        for argv in commands:
            left = max(0.1, self._until - time.monotonic())
            ended = self._run(argv, variables, left, keep_open=(session.fileno,))
            if ended.returncode != 0:
                return ended
        if ended is None:
            raise AssertionError("a plan with steps has at least one command")
        return ended

    def _changing(self, session: LockSession, more: typing.Mapping[str, str] | None) -> dict[str, str]:
        """Return the variables with which a tool waits and runs only as long as it may."""
        if self.kind == POSTGRESQL:
            return {"PGOPTIONS": self.options_to_change(session, more)}
        if self.kind == MYSQL:
            wanted = limits(self._settings, session.product)
            return session_variables(self._settings.database_url_variable, self.surroundings.url, wanted, self._url_for)
        return {}

    def options_to_read(self, more: typing.Mapping[str, str] | None = None) -> str:
        """Return the settings of the tool's own session, as in PGOPTIONS, in which the server refuses all writes."""
        return f"{self._options(more)} -c default_transaction_read_only=on"

    def options_to_change(self, session: LockSession, more: typing.Mapping[str, str] | None = None) -> str:
        """Return the settings of the tool's own session, as in PGOPTIONS, while it changes something."""
        checked = " -c client_connection_check_interval=1000" if session.server_version >= _CLIENT_CHECK_SINCE else ""
        return self._options(more) + checked

    def _options(self, more: typing.Mapping[str, str] | None) -> str:
        """Return the options of the session: those that the address of the database brings along, then ours."""
        own, given = self.surroundings.variables["PGOPTIONS"], (more or {}).get("PGOPTIONS", "")
        return own if given in own else f"{given} {own}"

    def unreadable(self, ended: Ended) -> BatonError:
        """Return what to say of a tool that could not read where the schema is."""
        found = f"{self._configuration} or one of its migrations failed: {ended.headline}"
        fix = "read output, correct the app's tree or its environment"
        refusal = database_refusal(self.kind, "\n".join(ended.tail))
        if refusal is not None:
            found, fix = refusal
        elif _READ_ONLY.search(ended.output):
            found = f"{self._configuration} writes to the database while it is only read"
            fix = "move these statements into a migration"
        elif ended.returncode is None:
            found = f"{self._configuration} did not end in time"
            fix = (
                f"look for locks on the version table{' (pg_locks)' if self.kind == POSTGRESQL else ''}, then run again"
            )
        return BatonError(
            found=found,
            expected="to read the schema's revision from the database",
            fix=f"{fix}; nothing was changed",
            output=ended.tail,
        )

    def _run(
        self,
        argv: typing.Sequence[str],
        more: typing.Mapping[str, str],
        timeout: float,
        *,
        program: str = "",
        keep_open: tuple[int, ...] = (),
    ) -> Ended:
        around = self.surroundings
        return run(
            argv,
            project_dir=self._settings.project_dir,
            variables={**around.variables, **more},
            secrets=around.secrets,
            timeout=timeout,
            program=program,
            keep_open=keep_open,
            account=around.account,
        )


def require_tree(settings: ToolSettings, *names: str) -> None:
    """See that the release tree is there, with at least one of the files ``names`` if there are any.

    Raises:
        NotThereYet: it is not.
    """
    project = settings.project_dir
    if not project.is_dir():
        raise NotThereYet(
            found=f"no directory {project}", expected="the app's release tree", fix=f"{_UNPACK} project_dir"
        )
    if names and not any((project / name).exists() for name in names):
        raise NotThereYet(
            found=f"no {' or '.join(names)} in {project}",
            expected=f"the app's release tree with its {names[0]}",
            fix=f"{_UNPACK} project_dir",
        )


def require_program(settings: ToolSettings, program: str, *, option: str, what: str) -> None:
    """See that ``program`` is there.

    Args:
        settings: how it is run.
        program: its path, or its name on PATH.
        option: the module's option that names it.
        what: what it is for.

    Raises:
        NotThereYet: it is not.
    """
    if shutil.which(program, path=settings.environment.get("PATH")) is None:
        raise NotThereYet(found=f"no {what} {program}", expected="the app's own tool", fix=f"{_UNPACK} {option}")
