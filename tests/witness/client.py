# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The client: requests at a fixed rate, whatever the answers are like; never a retry, never a hidden reconnect."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import itertools
import math
import os
import time
import typing

from tests.witness.downloads import Downloads
from tests.witness.ledger import TICK_SECONDS, Kind, LedgerWriter, Record
from tests.witness.link import Link
from tests.witness.options import MAX_BACKLOG_SECONDS, Options
from tests.witness.talkers import Talkers
from tests.witness.wire import WireError, encode_request

__all__ = ["Client"]


@dataclasses.dataclass(frozen=True, slots=True)
class Shot:
    """One request to send, ready as bytes."""

    method: str
    path: str
    data: bytes


def shots(options: Options, kind: Kind) -> typing.Iterator[Shot]:
    """Yield endlessly what to send over connections of this ``kind``, with the POSTs spread evenly."""

    def encoded(method: str, path: str, body: str | None) -> Shot:
        payload = None if body is None else body.encode()
        data = encode_request(method=method, path=path, host=options.target.host, body=payload, close=kind == "fresh")
        return Shot(method, path, data)

    gets = itertools.cycle([encoded("GET", path, None) for path in options.paths])
    posts = itertools.cycle([encoded("POST", path, body) for path, body in options.posts])
    share = options.post_share if options.posts else 0.0
    for number in itertools.count():
        is_post = math.floor((number + 1) * share) > math.floor(number * share)
        yield next(posts if is_post else gets)


class Client:
    """One run: half of the requests over kept-alive connections, half over connections of their own.

    Downloads and WebSockets, where the options have any, come on top of the rate.
    """

    def __init__(self, options: Options, writer: LedgerWriter, *, parent: int | None = None) -> None:
        """Write to ``writer``; end early when the process ``parent``, which must be the starter, is gone."""
        self.stopping = False
        self.sent = 0
        self.skipped = 0
        self.errors: collections.Counter[str] = collections.Counter()
        self.statuses: collections.Counter[int] = collections.Counter()
        self.sending_seconds = 0.0
        self._options = options
        self._writer = writer
        self._parent = parent
        self._numbers = itertools.count(1)
        self._idle: collections.deque[Link] = collections.deque()
        self._kept_open = 0

    def stop(self) -> None:
        """Send nothing more; ``run`` returns when the requests in flight have ended."""
        self.stopping = True

    async def run(self) -> None:
        """Send for the time asked for; returns when what was under way then has ended too, with everything written."""
        try:
            async with asyncio.TaskGroup() as group:
                ticker = group.create_task(self._tick())
                async with asyncio.TaskGroup() as traffic:
                    self._start_lasting(traffic)
                    await self._pace(traffic)
                    self.stop()
                ticker.cancel()
            for link in self._idle:
                self._tell_leftover(link)
            self._writer.end(skipped=self.skipped)
        finally:
            for link in self._idle:
                link.close()
            self._writer.close()

    def _start_lasting(self, traffic: asyncio.TaskGroup) -> None:
        options = self._options
        if options.downloads:
            downloads = Downloads(options, self._numbers, going=self._going, note=self._note)
            for index in range(options.streams):
                traffic.create_task(downloads.stream(index))
        if options.websockets:
            talkers = Talkers(options, self._numbers, going=self._going, note=self._writer.write)
            for index in range(options.talkers):
                traffic.create_task(talkers.talk(index))

    def _going(self) -> bool:
        return not self.stopping

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._writer.tick()
            if self._parent is not None and os.getppid() != self._parent:
                self.stop()

    async def _pace(self, requests: asyncio.TaskGroup) -> None:
        rate = self._options.rate
        kinds: tuple[Kind, Kind] = ("kept", "fresh")
        turns = itertools.cycle([(kind, shots(self._options, kind)) for kind in kinds])
        began = due = now = time.monotonic()
        while not self.stopping and now < began + self._options.seconds:
            if now < due:
                await asyncio.sleep(min(due - now, TICK_SECONDS))
            elif now - due > MAX_BACKLOG_SECONDS:
                behind = math.ceil((now - due) * rate)
                self.skipped += behind
                due += behind / rate
            else:
                kind, sequence = next(turns)
                requests.create_task(self._request(kind, next(sequence)))
                self.sent += 1
                due += 1 / rate
            now = time.monotonic()
        self.sending_seconds = now - began

    async def _request(self, kind: Kind, shot: Shot) -> None:
        target = self._options.target
        link = self._take(kind)
        error: str | None = None
        started, began = time.time(), time.perf_counter()
        try:
            async with asyncio.timeout(self._options.timeout):
                await link.exchange(target.address, target.port, shot.data)
        except TimeoutError:
            # A starved process may see the answer and the end of its time at the same moment.
            error = None if link.answered else f"timeout: {self._options.timeout:g} s passed {link.progress}"
        except WireError as fault:
            error = str(fault)
        seconds = time.perf_counter() - began
        self._give_back(kind, link, reusable=error is None)
        record = link.record(
            kind=kind, method=shot.method, path=shot.path, started=started, seconds=seconds, error=error
        )
        self._note(record)

    def _take(self, kind: Kind) -> Link:
        """Return the connection that has rested longest; a new one while there are too few, or all are busy."""
        if kind == "kept":
            if self._idle and self._kept_open >= self._options.connections:
                return self._idle.popleft()
            self._kept_open += 1
        return Link(next(self._numbers))

    def _give_back(self, kind: Kind, link: Link, *, reusable: bool) -> None:
        if kind == "kept":
            announced = link.response is not None and link.response.closes
            if reusable and not announced and self._kept_open <= self._options.connections:
                self._idle.append(link)
                return
            self._kept_open -= 1
        link.close()

    def _tell_leftover(self, link: Link) -> None:
        """Record bytes that came unasked after the last request of the run: no later request could report them."""
        try:
            link.leftover_fault()
        except WireError as fault:
            now = time.time()
            self._note(link.record(kind="kept", method="-", path="-", started=now, seconds=0.0, error=str(fault)))

    def _note(self, record: Record) -> None:
        self._writer.write(record)
        if record.error_kind is not None:
            self.errors[record.error_kind] += 1
        elif record.status is not None:
            self.statuses[record.status] += 1
