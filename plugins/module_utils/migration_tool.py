# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Running the app's own migration tool: its environment, its time limit, and its words without the secrets."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import tempfile
import time
import typing
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus, unquote, urlsplit

from ansible_collections.baton.release.plugins.module_utils.envfile import parse
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import read_text
from ansible_collections.baton.release.plugins.module_utils.migration_kinds import POSTGRESQL, kind_of
from ansible_collections.baton.release.plugins.module_utils.migration_user import Account, account_of

if typing.TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Ended", "NotThereYet", "Running", "Surroundings", "ToolSettings", "mask", "run", "surroundings"]

_SECRET_NAME = re.compile(r"PASS|PWD|SECRET|TOKEN|KEY|CREDENTIAL|DSN|URL|URI", re.IGNORECASE)
_MASKABLE = 4
"""Length from which an env file's value is masked whatever its name: a flag such as 1 would blacken every message."""
_KEPT_BYTES = 8 << 20
_TAIL_LINES = 20
_TAIL_CHARACTERS = 4000
_ERROR_LINE = re.compile(
    r"(FAILED|[Ee]rror|[A-Za-z_][\w.]*(\.[A-Z]\w*|Error|Exception)|ERROR: Exception Primary Reason|.*\bpsql:.+:\d+: (ERROR|FATAL)): "
)
_STACK_LINE = re.compile(r"\s+at |\s*$")
_GRACE = 5.0  # seconds between asking a tool to end and ending it


class NotThereYet(BatonError):  # noqa: N818 - it is a state of the host more than an error
    """Something that a release has still to bring; only check mode goes on without it."""

    def __init__(self, *, found: str, expected: str, fix: str, **details: typing.Any) -> None:
        """Keep what was ``found`` as the reason why nothing can be known yet."""
        super().__init__(found=found, expected=expected, fix=fix, **details)
        self.reason = found


@dataclass(frozen=True)
class ToolSettings:
    """How the app's own tool is run.

    ``timeout`` is in seconds, ``ddl_lock_timeout`` and ``statement_timeout`` are in PostgreSQL's notation; ``user`` is whom the tool
    runs as, None for the user of this process; ``instead`` replaces variables of the environment, whatever they come from, and None in it
    takes one away.
    """

    project_dir: Path
    environment: typing.Mapping[str, str]
    env_files: typing.Sequence[Path]
    database_url_variable: str
    ddl_lock_timeout: str
    timeout: float
    statement_timeout: str = "0"
    user: str | None = None
    instead: typing.Mapping[str, str | None] = field(default_factory=dict)
    rehearsal_url_variable: str = ""
    """Holds the URL of the server for rehearsals, which the tool does not get to know."""


@dataclass(frozen=True)
class Surroundings:
    """The tool's environment, the database URL in it, the env files that are not there, what may not be shown, and its user.

    ``rehearsal_url`` is that of the server for rehearsals, empty where there is none.
    """

    variables: typing.Mapping[str, str]
    url: str
    missing_files: tuple[str, ...]
    secrets: frozenset[str]
    account: Account | None = None
    rehearsal_url: str = ""


class Ended(typing.NamedTuple):
    """How a tool ended: ``returncode`` is None when its time was up; ``output`` is unmasked, ``tail`` can be shown."""

    returncode: typing.Optional[int]  # noqa: UP045 - a NamedTuple of Python 3.9 may be asked for its types at run time
    output: str
    tail: list[str]

    @property
    def headline(self) -> str:
        """The line that says what went wrong: what follows it is often only a stack or a link."""
        errors = [line for line in self.tail if _ERROR_LINE.match(line)]
        told = [line for line in self.tail if not _STACK_LINE.match(line)]
        return (errors or told or ["nothing was printed"])[-1]


def surroundings(settings: ToolSettings) -> Surroundings:
    """Return the environment for the tool: that of this process, then the env files in order, then ``environment``.

    Raises:
        NotThereYet: no database URL in it, or no such user.
        BatonError: an env file cannot be read, a time is none, or the URL leads to no database that is known.
    """
    for name in ("ddl_lock_timeout", "statement_timeout"):
        value = getattr(settings, name)
        if not re.fullmatch(r"\d+(ms|s|min)?", value):
            raise BatonError(
                found=f"{name} '{value}'", expected="a time such as 500ms, 5s or 0", fix="correct the option"
            )
    account = _account(settings)
    delivered: dict[str, str] = {}
    missing = []
    for path in settings.env_files:
        values = _read(path)
        if values is None:
            missing.append(str(path))
        else:
            delivered.update(values)
    own = os.environ if account is None else account.own_environment(os.environ)
    variables = {**own, **delivered, **settings.environment}
    rehearsal_url = variables.pop(settings.rehearsal_url_variable, "")
    for name, value in settings.instead.items():
        variables.pop(name, None)
        if value is not None:
            variables[name] = value
    url = variables.get(settings.database_url_variable, "")
    if not url:
        absent = f"; these env files do not exist: {', '.join(missing)}" if missing else ""
        raise NotThereYet(
            found=f"no {settings.database_url_variable} in the tool's environment{absent}",
            expected="the database's URL in one of env_files",
            fix="deliver the app's secrets before its migrations, or name the file that holds them in env_files",
        )
    if kind_of(url) == POSTGRESQL:
        variables.setdefault("PGOPTIONS", _limits(settings))
    secrets = _secrets(url, delivered, settings.environment) | _secrets(rehearsal_url, {}, {})
    return Surroundings(variables, url, tuple(missing), secrets, account, rehearsal_url)


def _account(settings: ToolSettings) -> Account | None:
    if settings.user is None:
        return None
    try:
        return account_of(settings.user)
    except KeyError:
        raise NotThereYet(
            found=f"no user {settings.user} on this host",
            expected="the user that the app runs as",
            fix="run provision.yml first, or correct the option user",
        ) from None


def _limits(settings: ToolSettings) -> str:
    limits = f"-c lock_timeout={settings.ddl_lock_timeout}"
    return (
        limits if settings.statement_timeout == "0" else f"{limits} -c statement_timeout={settings.statement_timeout}"
    )


def _read(path: Path) -> dict[str, str] | None:
    try:
        text = read_text(path)
        return None if text is None else parse(text)
    except BatonError as error:
        raise BatonError(
            found=f"env file {path} that cannot be understood",
            expected=str(error),
            fix="correct it, or deliver it again",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise BatonError(
            found=f"env file {path} cannot be read: {type(error).__name__}",
            expected="a text file that this user may read",
            fix="run as the file's owner (become), or correct env_files",
        ) from error


def _secrets(url: str, delivered: typing.Mapping[str, str], environment: typing.Mapping[str, str]) -> frozenset[str]:
    values = [value for name, value in delivered.items() if len(value) >= _MASKABLE or _SECRET_NAME.search(name)]
    values += [value for name, value in environment.items() if _SECRET_NAME.search(name)]
    values += [line for value in values for line in value.splitlines() if len(line) >= _MASKABLE]
    values += [_password(value) for value in [url, *values] if "://" in value]
    spellings = {
        spelling
        for value in values
        for spelling in (
            value,
            unquote(value),
            quote(value),
            quote(value, safe=""),
            quote_plus(value),
            repr(value)[1:-1],
            json.dumps(value)[1:-1],
        )
    }
    return frozenset(spelling for spelling in spellings if spelling.strip())


def _password(url: str) -> str:
    # Not urlsplit().password: it raises for a broken port or host, and a broken URL has a password too.
    authority = url.partition("://")[2].rpartition("@")[0]
    with contextlib.suppress(ValueError):
        return urlsplit(url).password or authority.partition(":")[2]
    return authority.partition(":")[2]


def mask(text: str, secrets: typing.Iterable[str]) -> str:
    """Return ``text`` with every secret replaced, the longest first."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "********")
    return text


def run(
    argv: typing.Sequence[str],
    *,
    project_dir: Path,
    variables: typing.Mapping[str, str],
    secrets: frozenset[str],
    timeout: float,
    program: str = "",
    keep_open: tuple[int, ...] = (),
    account: Account | None = None,
) -> Ended:
    """Run ``argv`` in ``project_dir`` to its end, for at most ``timeout`` seconds.

    Args:
        argv: the command; it holds no secret.
        project_dir: its working directory.
        variables: its whole environment.
        secrets: texts that are masked in ``tail``.
        timeout: seconds; then the tool and its children are ended.
        program: text for its standard input.
        keep_open: descriptors that it inherits.
        account: as whom it runs, None for the user of this process.

    Raises:
        BatonError: it cannot be started.
    """
    # A file, not a pipe, because a tool may end without having read all of it.
    with tempfile.TemporaryFile() as source:
        source.write(program.encode())
        source.seek(0)
        with Running(
            argv,
            project_dir=project_dir,
            variables=variables,
            secrets=secrets,
            keep_open=keep_open,
            account=account,
            stdin=source,
        ) as running:
            return running.ended(timeout)


class Running:
    """A tool that runs in a session of its own: a lost connection to this host must not cut a migration in two.

    As a context; a tool that still runs at its end is ended, with its children.
    """

    def __init__(
        self,
        argv: typing.Sequence[str],
        *,
        project_dir: Path,
        variables: typing.Mapping[str, str],
        secrets: frozenset[str],
        stdin: typing.IO[bytes] | int,
        keep_open: tuple[int, ...] = (),
        account: Account | None = None,
    ) -> None:
        """Start ``argv``; the arguments are those of :func:`run`, and its standard input.

        Raises:
            BatonError: it cannot be started.
        """
        self._secrets = secrets
        # A file, not a pipe: if this process is killed, the tool's next line would break a pipe and with it the migration.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  # closed at the end of the context
        try:
            self._process = subprocess.Popen(
                list(argv),
                cwd=project_dir,
                env=dict(variables),
                stdin=stdin,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                pass_fds=keep_open,
                start_new_session=True,
                **(account.as_options() if account else {}),
            )
        except OSError as error:
            self._output.close()
            raise _not_run(argv[0], account, error) from error

    def __enter__(self) -> Running:
        """Return the tool."""
        return self

    def __exit__(self, *_: object) -> None:
        """End what still runs."""
        if self._process.poll() is None:
            _end(self._process)
        self.go_on()
        self._output.close()

    def go_on(self) -> None:
        """End the standard input of the tool, which was a pipe."""
        if self._process.stdin:
            self._process.stdin.close()

    def ended(self, timeout: float) -> Ended:
        """Wait for at most so many seconds, then end it; return how it ended."""
        returncode = _await(self._process, timeout)
        end = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, end - _KEPT_BYTES))
        text = self._output.read().decode(errors="replace")
        shown = mask(text, self._secrets).strip()[-_TAIL_CHARACTERS:]
        return Ended(returncode, text, shown.splitlines()[-_TAIL_LINES:])


def _not_run(program: str, account: Account | None, error: OSError) -> BatonError:
    whom = f" as {account.name}" if account else ""
    return BatonError(
        found=f"{program} cannot be run{whom}: {error.strerror}",
        expected="the app's own migration tool, which the user that it runs as may read and run",
        fix="correct the paths and the permissions of the release and of the tool; nothing was changed",
    )


def _await(process: subprocess.Popen[bytes], timeout: float) -> int | None:
    try:
        return _wait(process, timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            _end(process)


def _wait(process: subprocess.Popen[bytes], timeout: float) -> int:
    """Wait for a process; unlike ``Popen.wait`` with a timeout, which looks every 50 ms, this notices at once when it ends."""
    if not hasattr(os, "pidfd_open"):
        return process.wait(timeout)
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return process.wait(timeout)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(timeout * 1000):
            raise subprocess.TimeoutExpired(process.args, timeout)
    finally:
        os.close(descriptor)
    return process.wait()


def _end(process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _GRACE
    for end_with in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, end_with)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline - time.monotonic()))
    process.wait()
