"""Clients that ask at a steady rate, whatever the answers take, and write each request down: a process of its own for some of them.

``python -m tests.bench.storm 127.0.0.1:8080 --kind kept --rate 150 --ledger kept.txt`` asks until its input ends.

A client with ``kept`` connections asks over each of them again and again. One that finds its connection closed before it asks opens
another one. One whose connection is closed after it has asked, and before a byte of the answer has come, asks once again over a new
connection, as browsers do (RFC 9112, 9.3.1): that is written down as ``again``. One with ``fresh`` connections opens one for each
request, and asks never again. Whatever else is no whole answer with status 200 has ``failed``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["AGAIN", "FAILED", "FRESH", "KEPT", "OK", "Asked", "read"]

KEPT, FRESH = "kept", "fresh"
OK, AGAIN, FAILED = "ok", "again", "failed"
CONNECTIONS = 16
PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Asked:
    """One request; the times are of the machine's monotonic clock, in seconds."""

    start: float
    end: float
    kind: str
    outcome: str
    slot: str
    """The slot that answered, ``-`` for none."""
    why: str

    def line(self) -> str:
        """Return it as it is written down."""
        return f"{self.start:.6f} {self.end:.6f} {self.kind} {self.outcome} {self.slot} {self.why}".rstrip() + "\n"


def read(ledgers: Iterable[Path]) -> list[Asked]:
    """Return what is written down in these files, in the order of the starts."""
    found = []
    for ledger in ledgers:
        for line in ledger.read_text().splitlines():
            start, end, kind, outcome, slot, *why = line.split(" ", 5)
            found.append(Asked(float(start), float(end), kind, outcome, slot, " ".join(why)))
    return sorted(found, key=lambda one: one.start)


class _UnansweredError(Exception):
    """The connection was closed before a byte of the answer had come."""


class Connection:
    """A connection to the load balancer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Remember both ends of it."""
        self.reader, self.writer = reader, writer
        self.ended = False

    @classmethod
    async def to(cls, address: str) -> Connection:
        """Open one."""
        host, _, port = address.rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    @property
    def usable(self) -> bool:
        """Whether nobody has closed it, as far as this side knows."""
        return not (self.ended or self.reader.at_eof() or self.reader.exception() or self.writer.is_closing())

    async def ask(self, request: bytes) -> tuple[int, str]:
        """Ask; return status and slot.

        Raises:
            _UnansweredError: it was closed before the answer.
            OSError, EOFError, ValueError: it was closed in the middle of the answer, or that was no answer.
        """
        try:
            self.writer.write(request)
            first = await self.reader.readexactly(1)
        except (OSError, EOFError) as error:
            raise _UnansweredError(repr(error)) from error
        head = (first + await self.reader.readuntil(b"\r\n\r\n")).decode("ascii")
        status, *lines = head.split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        await self.reader.readexactly(int(fields["content-length"]))
        self.ended = fields.get("connection", "").lower() == "close"
        return int(status.split(" ")[1]), fields.get("x-slot", "-")

    def close(self) -> None:
        """Close it."""
        self.ended = True
        self.writer.close()


class Clients:
    """The clients of one process."""

    def __init__(self, address: str, kind: str, rate: float) -> None:
        """Have ``CONNECTIONS`` of them, which ask ``rate`` times a second together."""
        self.address, self.kind, self.rate = address, kind, rate
        close = "Connection: close\r\n" if kind == FRESH else ""
        self.request = f"GET / HTTP/1.1\r\nHost: {address}\r\n{close}\r\n".encode()
        self.asked: list[Asked] = []
        self.stopped = False

    async def run(self) -> None:
        """Ask until ``stopped``."""
        begin = time.monotonic()
        await asyncio.gather(*(self._client(begin + number / self.rate) for number in range(CONNECTIONS)))

    async def _client(self, at: float) -> None:
        connection: Connection | None = None
        while not self.stopped:
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            connection = await self._once(connection)
            if connection is not None and self.kind == FRESH:
                connection.close()
                connection = None
            at += CONNECTIONS / self.rate
        if connection is not None:
            connection.close()

    async def _once(self, connection: Connection | None) -> Connection | None:
        """Ask once, and write it down; return the connection if it can be used again."""
        if connection is not None and not connection.usable:
            connection.close()
            connection = None
        start, outcome, slot, why = time.monotonic(), FAILED, "-", ""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                reused = connection is not None
                connection = connection or await Connection.to(self.address)
                try:
                    outcome, status, slot = OK, *await connection.ask(self.request)
                except _UnansweredError:
                    if not reused:
                        raise
                    connection.close()
                    connection = await Connection.to(self.address)
                    outcome, status, slot = AGAIN, *await connection.ask(self.request)
            if status != 200 or slot == "-":
                outcome, why = FAILED, f"status {status}"
        except (OSError, EOFError, ValueError, LookupError, _UnansweredError) as error:
            outcome, why = FAILED, repr(error).replace("\n", " ")
            if connection is not None:
                connection.close()
            connection = None
        self.asked.append(Asked(start, time.monotonic(), self.kind, outcome, slot, why))
        return connection


async def _main(options: argparse.Namespace) -> None:
    clients = Clients(options.address, options.kind, options.rate)
    running = asyncio.create_task(clients.run())
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.wait([running, ended], return_when=asyncio.FIRST_COMPLETED)
    clients.stopped = True
    with contextlib.suppress(asyncio.CancelledError):
        await running
    options.ledger.write_text("".join(one.line() for one in clients.asked))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.storm", description=__doc__)
    parser.add_argument("address", help="the load balancer, as host:port")
    parser.add_argument("--kind", choices=(KEPT, FRESH), required=True, help="whether connections are used again")
    parser.add_argument("--rate", type=float, required=True, help="requests a second of this process")
    parser.add_argument("--ledger", type=Path, required=True, help="file to write each request to, at the end")
    return parser


if __name__ == "__main__":
    asyncio.run(_main(_parser().parse_args()))
