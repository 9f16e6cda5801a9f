# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Slow downloads: bodies that take seconds, read slowly, and proved whole by more than their framing."""

from __future__ import annotations

import asyncio
import itertools
import time
import typing

from tests.witness.ledger import Record
from tests.witness.link import Link
from tests.witness.options import Options
from tests.witness.proof import Body, Proof
from tests.witness.wire import WireError, encode_request

__all__ = ["Downloads"]

OK = 200
# After a download that was shorter than this: a server that is gone, or has little to give, is asked again without a flood.
PAUSE_SECONDS = 0.2


class Downloads:
    """Streams that download one thing after the other, each over a connection of its own."""

    def __init__(
        self,
        options: Options,
        numbers: typing.Iterator[int],
        *,
        going: typing.Callable[[], bool],
        note: typing.Callable[[Record], None],
    ) -> None:
        """Take a connection number from ``numbers`` for each, ``note`` each, and go on while ``going``."""
        self._options = options
        self._numbers = numbers
        self._going = going
        self._note = note

    async def stream(self, first: int) -> None:
        """Download again and again, beginning with the download number ``first``."""
        downloads = self._options.downloads
        for at in itertools.count(first):
            if not self._going():
                return
            path, proof = downloads[at % len(downloads)]
            record = await self._download(path, Proof.named(proof))
            self._note(record)
            if record.ms < PAUSE_SECONDS * 1000:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _download(self, path: str, proof: Proof) -> Record:
        options, target = self._options, self._options.target
        link = Link(next(self._numbers), pace=options.pace)
        request = encode_request(method="GET", path=path, host=target.host, body=None, close=True)
        body = Body()
        error: str | None = None
        started, began = time.time(), time.perf_counter()
        try:
            async with asyncio.timeout(options.download_timeout):
                response = await link.exchange(target.address, target.port, request, on_body=body.add)
            if response.status == OK:
                proof.check(response.headers, body)
        except TimeoutError:
            error = f"timeout: {options.download_timeout:g} s passed {link.progress}"
        except WireError as fault:
            error = str(fault)
        seconds = time.perf_counter() - began
        link.close()
        return link.record(kind="slow", method="GET", path=path, started=started, seconds=seconds, error=error)
