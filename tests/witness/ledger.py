# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The ledger: one JSON line for each request, each WebSocket and each of its answers, in the order in which they ended."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import typing

if typing.TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "TICK_SECONDS",
    "End",
    "Kind",
    "Ledger",
    "LedgerError",
    "LedgerWriter",
    "MessageRecord",
    "Record",
    "SocketRecord",
    "load",
]

# A line reaches the file at most two ticks after what it tells of has ended: 0.2 s.
TICK_SECONDS = 0.1

Kind = typing.Literal["kept", "fresh", "slow"]
Closer = typing.Literal["client", "server"]


class LedgerError(Exception):
    """A ledger that cannot be written or trusted."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One line of the file: ``line`` is its number there, and not written."""

    what: typing.ClassVar[str]
    line: int = dataclasses.field(default=0, compare=False)

    @classmethod
    def written(cls) -> list[str]:
        """Return the names of the fields in the file."""
        return [field.name for field in dataclasses.fields(cls) if field.name != "line"]

    def as_json(self) -> str:
        """Return the line for the file, without its line end."""
        return json.dumps({"what": self.what, **{name: getattr(self, name) for name in self.written()}})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Record(_Line):
    """One request: ``start`` and ``end`` in Unix seconds, ``ms`` measured on the monotonic clock.

    ``kind`` is ``slow`` for a download, else whether its connection is kept alive or fresh. ``nth`` counts the requests
    on ``connection`` from 1. ``error`` is ``kind: detail`` or None; a request can have both a status and an error, as
    when its body was cut short. ``body_bytes`` is how much of the body came.
    """

    what: typing.ClassVar[str] = "request"

    start: float
    end: float
    ms: float
    method: str
    path: str
    kind: Kind
    connection: int
    nth: int
    status: int | None
    error: str | None
    version: str | None
    instance: str | None
    slot: str | None
    body_bytes: int = 0

    @property
    def error_kind(self) -> str | None:
        """What kind of error it was: the part before the colon."""
        return None if self.error is None else self.error.partition(":")[0]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SocketRecord(_Line):
    """One WebSocket, written when it has ended.

    ``status`` is that of the answer to the handshake, 101 when all is well. The messages 1 to ``sent`` were sent. ``closer`` is
    who sent the first close frame, with ``code``; both are None where there was none. ``error`` as in a request.
    """

    what: typing.ClassVar[str] = "websocket"

    start: float
    end: float
    ms: float
    path: str
    connection: int
    status: int | None
    error: str | None
    version: str | None
    instance: str | None
    slot: str | None
    sent: int
    closer: Closer | None
    code: int | None

    @property
    def error_kind(self) -> str | None:
        """What kind of error it was: the part before the colon."""
        return None if self.error is None else self.error.partition(":")[0]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MessageRecord(_Line):
    """One answer on a WebSocket: to message ``number`` of ``connection``, sent at ``start`` and answered at ``end``.

    Each answer has a line, so a doubled one has two, and a message without an answer has none. ``version``, ``instance`` and
    ``slot`` are what the answer itself says, None where it says nothing.
    """

    what: typing.ClassVar[str] = "message"

    start: float
    end: float
    ms: float
    connection: int
    number: int
    version: str | None
    instance: str | None
    slot: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class End(_Line):
    """The last line: how many lines of each sort come before it, and how many requests a starved client left out."""

    what: typing.ClassVar[str] = "end"

    requests: int
    websockets: int
    messages: int
    skipped: int


AnyLine = Record | SocketRecord | MessageRecord | End
_KINDS: dict[str, type[AnyLine]] = {kind.what: kind for kind in (Record, SocketRecord, MessageRecord, End)}


@dataclasses.dataclass(frozen=True, slots=True)
class Ledger:
    """What was loaded; ``torn`` when the last line was incomplete and left out, ``end`` None while it goes on."""

    records: tuple[Record, ...]
    torn: bool = False
    sockets: tuple[SocketRecord, ...] = ()
    messages: tuple[MessageRecord, ...] = ()
    end: End | None = None

    def __iter__(self) -> typing.Iterator[Record]:
        """Iterate over the requests in the order in which they ended."""
        return iter(self.records)

    def __len__(self) -> int:
        """Return the number of requests."""
        return len(self.records)

    def window(self, t0: float = float("-inf"), t1: float = float("inf")) -> Ledger:
        """Return what was in flight at any time in [``t0``, ``t1``], Unix seconds; of a WebSocket all its answers.

        A request that was under way when a step began, or that still waited when it ended, belongs to that step.
        """

        def in_flight(line: Record | SocketRecord | MessageRecord) -> bool:
            return line.start <= t1 and line.end >= t0

        sockets = tuple(filter(in_flight, self.sockets))
        held = {socket.connection for socket in sockets}
        return dataclasses.replace(
            self,
            records=tuple(filter(in_flight, self.records)),
            sockets=sockets,
            messages=tuple(one for one in self.messages if one.connection in held or in_flight(one)),
        )

    def started(self, t0: float, t1: float) -> Ledger:
        """Return what was started in [``t0``, ``t1``): adjoining windows count each request exactly once."""
        return dataclasses.replace(
            self,
            records=tuple(record for record in self.records if t0 <= record.start < t1),
            sockets=tuple(socket for socket in self.sockets if t0 <= socket.start < t1),
            messages=tuple(message for message in self.messages if t0 <= message.start < t1),
        )


class LedgerWriter:
    """Appends whole lines to a new file; its owner calls ``tick`` every ``TICK_SECONDS``."""

    def __init__(self, path: Path) -> None:
        """Create ``path``; an existing ledger is evidence, so it is never continued or overwritten."""
        try:
            self._file = path.open("xb", buffering=0)
        except FileExistsError:
            raise LedgerError(f"{path} exists; a run needs a new file: remove it or choose another name") from None
        except OSError as error:
            raise LedgerError(f"{path} cannot be written: {error}") from error
        self._lines: list[str] = []
        self._counts: collections.Counter[str] = collections.Counter()

    def write(self, line: AnyLine) -> None:
        """Take one line."""
        self._lines.append(line.as_json())
        self._counts[line.what] += 1

    def end(self, *, skipped: int) -> None:
        """Take the last line, which says what the ledger holds and that its client left out ``skipped`` requests."""
        counts = self._counts
        last = End(
            requests=counts[Record.what],
            websockets=counts[SocketRecord.what],
            messages=counts[MessageRecord.what],
            skipped=skipped,
        )
        self.write(last)

    def tick(self) -> None:
        """Hand all lines to the operating system."""
        data = "".join(f"{line}\n" for line in self._lines).encode("ascii")
        self._lines.clear()
        while data:
            data = data[self._file.write(data) :]

    def close(self) -> None:
        """Flush to the disk and close."""
        self.tick()
        os.fsync(self._file.fileno())
        self._file.close()


def load(path: Path) -> Ledger:
    """Read a ledger, also while it is being written; raise LedgerError for any unreadable line but a torn last one."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise LedgerError(f"{path} cannot be read: {error}") from error
    unended = lines.pop()
    found: dict[type[AnyLine], list[typing.Any]] = {kind: [] for kind in _KINDS.values()}
    for number, line in enumerate(lines, 1):
        record = _parse(path, number, line)
        if found[End]:
            raise LedgerError(f"{path}:{number} comes after the last line of the ledger, {found[End][0].line}")
        found[type(record)].append(record)
    return Ledger(
        tuple(found[Record]),
        torn=bool(unended),
        sockets=tuple(found[SocketRecord]),
        messages=tuple(found[MessageRecord]),
        end=found[End][0] if found[End] else None,
    )


def _parse(path: Path, number: int, line: bytes) -> AnyLine:
    try:
        fields = json.loads(line)
        kind = _KINDS[fields["what"]]
        return kind(**{name: fields[name] for name in kind.written()}, line=number)
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerError(f"{path}:{number} is not a record ({error!r}): {line[:120]!r}") from error
