# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The witness as a process of its own, for tests and the demo: started, awaited, stopped, never left behind."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
import typing
from pathlib import Path

from tests.witness.checker import is_failure
from tests.witness.ledger import Ledger, load
from tests.witness.options import Options, longest_end

__all__ = ["Witness", "WitnessError", "watched"]

# The client says so once its signal handlers are in place; only then may it be stopped.
STARTED = b"witness: pid "
ROOT = Path(__file__).resolve().parents[2]
POLL_SECONDS = 0.05
START_SECONDS = 30.0
# What a client that was told to stop may need beyond the time for what is under way.
STOP_MARGIN_SECONDS = 5.0


class WitnessError(Exception):
    """The witness did not start, did not see the traffic flow, or did not end well."""


class Witness:
    """A running client; use it as a context manager.

    The client's own words go to a log next to the ledger. If this process dies, the client notices and ends by itself.
    """

    def __init__(
        self,
        url: str,
        ledger: Path,
        *,
        seconds: float = 600.0,
        rate: float = 150.0,
        paths: typing.Sequence[str] = ("/",),
        posts: typing.Sequence[tuple[str, str]] = (),
        post_share: float = 0.2,
        connections: int = 16,
        timeout: float = 5.0,
        downloads: typing.Sequence[tuple[str, str]] = (),
        streams: int = 2,
        pace: float = 65536.0,
        download_timeout: float = 60.0,
        websockets: typing.Sequence[str] = (),
        talkers: int = 4,
        talk_seconds: float = 10.0,
        talk_interval: float = 0.5,
    ) -> None:
        """Take what ``python -m tests.witness run`` takes; ``ledger`` must not exist yet."""
        self.ledger_path = ledger.resolve()
        self.log_path = self.ledger_path.with_suffix(".log")
        self._talks = bool(websockets)
        self._patience = STOP_MARGIN_SECONDS + longest_end(
            timeout=timeout,
            download_timeout=download_timeout,
            has_downloads=bool(downloads),
            has_websockets=bool(websockets),
        )
        self._process: subprocess.Popen[bytes] | None = None
        numbers = {
            "--seconds": seconds,
            "--rate": rate,
            "--post-share": post_share,
            "--connections": connections,
            "--timeout": timeout,
            "--streams": streams,
            "--pace": pace,
            "--download-timeout": download_timeout,
            "--talkers": talkers,
            "--talk-seconds": talk_seconds,
            "--talk-interval": talk_interval,
        }
        self._arguments = ["--url", url, "--ledger", str(self.ledger_path)]
        for name, number in numbers.items():
            self._arguments += [name, str(number)]
        for path in paths:
            self._arguments += ["--path", path]
        for path, body in posts:
            self._arguments += ["--post", path, body]
        for path, proof in downloads:
            self._arguments += ["--download", path, proof]
        for path in websockets:
            self._arguments += ["--websocket", path]

    @classmethod
    def of(cls, url: str, ledger: Path, options: Options) -> typing.Self:
        """Return the witness that does what ``options`` say, against ``url``."""
        names = [field.name for field in dataclasses.fields(options) if field.name != "target"]
        return cls(url, ledger, **{name: getattr(options, name) for name in names})

    @property
    def pid(self) -> int:
        """The client's process id."""
        return self._started.pid

    def __enter__(self) -> typing.Self:
        """Start the client and wait until it says that it runs."""
        self.ledger_path.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tests.witness", "run", *self._arguments, "--parent", str(os.getpid())]
        with self.log_path.open("wb") as log:
            # In a session of its own: a Ctrl-C in the terminal is for what is witnessed, not for the witness.
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait("started", START_SECONDS, lambda: STARTED in self.log_path.read_bytes())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the client, whatever happened."""
        self._end()

    def wait_until_flowing(self, seconds: float = 30.0) -> None:
        """Return when requests begun after this call have succeeded over kept and fresh connections and WebSockets.

        Downloads are under way then, but not waited for.
        """
        since = time.time()

        def flowing() -> bool:
            seen = self.snapshot()
            good = {record.kind for record in seen if record.start >= since and not is_failure(record)}
            talking = not self._talks or any(message.start >= since for message in seen.messages)
            return talking and good >= {"kept", "fresh"}

        self._wait("got answers", seconds, flowing)

    def snapshot(self) -> Ledger:
        """Load what is written so far."""
        return load(self.ledger_path)

    def stop(self) -> Ledger:
        """End the client in good order and return everything it saw."""
        code = self._end()
        if code != 0:
            raise WitnessError(f"the witness ended with {code}; {self._words()}")
        return load(self.ledger_path)

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise WitnessError("the witness was not started; use it in a with statement")
        return self._process

    def _wait(self, what: str, seconds: float, condition: typing.Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while True:
            code = self._started.poll()
            if code is not None:
                raise WitnessError(f"the witness ended with {code} before it {what}; {self._words()}")
            if condition():
                return
            if time.monotonic() > deadline:
                raise WitnessError(f"the witness has not {what} within {seconds:g} s; {self._words()}")
            time.sleep(POLL_SECONDS)

    def _words(self) -> str:
        return f"its last words: {self.log_path.read_text(errors='replace')[-2000:].strip() or '(none)'}"

    def _end(self) -> int:
        process = self._started
        try:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            return process.wait(self._patience)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


@contextlib.contextmanager
def watched(witnesses: typing.Mapping[str, Witness]) -> typing.Iterator[dict[str, Ledger]]:
    """Have all of these witnesses see traffic flow, all the while; what each of them saw is there in the end, by its name."""
    ledgers: dict[str, Ledger] = {}
    with contextlib.ExitStack() as stack:
        for witness in witnesses.values():
            stack.enter_context(witness)
        for witness in witnesses.values():
            witness.wait_until_flowing()
        yield ledgers
        for name, witness in witnesses.items():
            ledgers[name] = witness.stop()
