# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Clients that hold a WebSocket each: at any time so many of them are open, opened at different times."""

from __future__ import annotations

import asyncio
import typing

from tests.witness.ledger import MessageRecord, SocketRecord
from tests.witness.options import Options
from tests.witness.talk import Talk

__all__ = ["Talkers"]

# After a connection that did not last: the next one is a new connection with a line of its own, but not a flood of them.
PAUSE_SECONDS = 0.2


class Talkers:
    """Clients that open one WebSocket after the other."""

    def __init__(
        self,
        options: Options,
        numbers: typing.Iterator[int],
        *,
        going: typing.Callable[[], bool],
        note: typing.Callable[[SocketRecord | MessageRecord], None],
    ) -> None:
        """Take a connection number from ``numbers`` for each, ``note`` all that happens, and go on while ``going``."""
        self._options = options
        self._numbers = numbers
        self._going = going
        self._note = note

    async def talk(self, index: int) -> None:
        """Be client number ``index``, from 0. The first connection is shorter, so that not all of them end together."""
        options = self._options
        path = options.websockets[index % len(options.websockets)]
        seconds = options.talk_seconds * (index + 1) / options.talkers
        while self._going():
            talk = Talk(next(self._numbers), path, options, going=self._going, note=self._note)
            record = await talk.hold(seconds)
            self._note(record)
            seconds = options.talk_seconds
            if record.closer != "client":
                await asyncio.sleep(PAUSE_SECONDS)
