# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The ledger: one JSON line for each request, in the order in which they ended."""

from __future__ import annotations

import dataclasses
import json
import os
import typing

if typing.TYPE_CHECKING:
    from pathlib import Path

__all__ = ["TICK_SECONDS", "Kind", "Ledger", "LedgerError", "LedgerWriter", "Record", "load"]

# A line reaches the file at most two ticks after its request has ended: 0.2 s.
TICK_SECONDS = 0.1

Kind = typing.Literal["kept", "fresh"]


class LedgerError(Exception):
    """A ledger that cannot be written or trusted."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One request: ``start`` and ``end`` in Unix seconds, ``ms`` measured on the monotonic clock.

    ``nth`` counts the requests on ``connection`` from 1. ``error`` is ``kind: detail`` or None; a request can have both
    a status and an error, as when its body was cut short. ``line`` is its place in the loaded file, and not written.
    """

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
    line: int = dataclasses.field(default=0, compare=False)

    @property
    def error_kind(self) -> str | None:
        """What kind of error it was: the part before the colon."""
        return None if self.error is None else self.error.partition(":")[0]

    def as_json(self) -> str:
        """Return the line for the file, without its line end."""
        return json.dumps({name: getattr(self, name) for name in WRITTEN_FIELDS})


WRITTEN_FIELDS = tuple(field.name for field in dataclasses.fields(Record) if field.name != "line")


@dataclasses.dataclass(frozen=True, slots=True)
class Ledger:
    """What was loaded; ``torn`` when the last line was incomplete and left out."""

    records: tuple[Record, ...]
    torn: bool = False

    def __iter__(self) -> typing.Iterator[Record]:
        """Iterate over the records in the order in which they ended."""
        return iter(self.records)

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.records)

    def window(self, t0: float = float("-inf"), t1: float = float("inf")) -> Ledger:
        """Return the requests in flight at any time in [``t0``, ``t1``], Unix seconds.

        A request that was under way when a step began, or that still waited when it ended, belongs to that step.
        """
        return Ledger(tuple(record for record in self.records if record.start <= t1 and record.end >= t0), self.torn)

    def started(self, t0: float, t1: float) -> Ledger:
        """Return the requests started in [``t0``, ``t1``): adjoining windows count each request exactly once."""
        return Ledger(tuple(record for record in self.records if t0 <= record.start < t1), self.torn)


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

    def write(self, record: Record) -> None:
        """Take one record."""
        self._lines.append(record.as_json())

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
    records = [_parse(path, number, line) for number, line in enumerate(lines, 1)]
    return Ledger(tuple(records), torn=bool(unended))


def _parse(path: Path, number: int, line: bytes) -> Record:
    try:
        fields = json.loads(line)
        return Record(**{name: fields[name] for name in WRITTEN_FIELDS}, line=number)
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerError(f"{path}:{number} is not a record ({error!r}): {line[:120]!r}") from error
