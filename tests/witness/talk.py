# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""One WebSocket that is talked on: numbered messages to an endpoint that repeats them, and what came of each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
import typing

from tests.witness.frames import (
    Frame,
    FrameParser,
    Opcode,
    close_code,
    encode_frame,
    encode_handshake,
    new_key,
    refuse_handshake,
)
from tests.witness.ledger import TICK_SECONDS, Closer, MessageRecord, SocketRecord
from tests.witness.options import Options
from tests.witness.wire import ResponseParser, WireError

__all__ = ["Talk"]

NORMAL = 1000
UPGRADED = 101
# How often it asks whether the other side still hears.
PING_SECONDS = 2.0
TOKEN = re.compile(r"witness-(\d{1,18})-(\d{1,18})(?!\d)")


class Talk:
    """One connection, used once: ``hold`` opens it, talks, and closes it in good order."""

    def __init__(
        self,
        number: int,
        path: str,
        options: Options,
        *,
        going: typing.Callable[[], bool],
        note: typing.Callable[[MessageRecord], None],
    ) -> None:
        """Take the ``number`` under which the ledger knows it; ``note`` each answer; stop early when no longer ``going``."""
        self._number = number
        self._path = path
        self._options = options
        self._going = going
        self._note = note
        self._response = ResponseParser(upgrade=True)
        self._frames = FrameParser()
        self._sent: list[tuple[float, float]] = []  # of message n at n - 1: Unix seconds, and on the monotonic clock
        self._unanswered: set[int] = set()
        self._ping: tuple[bytes, float] | None = None
        self._pings = 0
        self._closer: Closer | None = None
        self._code: int | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def hold(self, seconds: float) -> SocketRecord:
        """Talk for so long, and return what became of the connection."""
        error: str | None = None
        started, began = time.time(), time.perf_counter()
        try:
            await self._hold(seconds)
        except WireError as fault:
            error = str(fault)
        finally:
            if self._writer is not None:
                self._writer.transport.abort()
        lasted = time.perf_counter() - began
        headers = self._response.headers
        return SocketRecord(
            start=round(started, 6),
            end=round(started + lasted, 6),
            ms=round(lasted * 1000, 3),
            path=self._path,
            connection=self._number,
            status=self._response.status,
            error=error,
            version=headers.get("x-version"),
            instance=headers.get("x-instance"),
            slot=headers.get("x-slot"),
            sent=len(self._sent),
            closer=self._closer,
            code=self._code,
        )

    async def _hold(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(self._options.timeout):
                reader = await self._open()
        except TimeoutError:
            raise WireError("timeout", f"{self._options.timeout:g} s passed while opening") from None
        if self._response.status != UPGRADED:
            return
        listening = asyncio.create_task(self._listen(reader))
        try:
            await self._speak(listening, until=time.monotonic() + seconds)
            await self._leave(listening)
            await listening
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError, WireError):
                await listening

    async def _open(self) -> asyncio.StreamReader:
        target, key = self._options.target, new_key()
        try:
            reader, self._writer = await asyncio.open_connection(target.address, target.port)
        except ConnectionRefusedError as error:
            raise WireError("refused", error.strerror or str(error)) from error
        except OSError as error:
            raise WireError("connect-failed", str(error)) from error
        self._writer.write(encode_handshake(path=self._path, host=target.host, key=key))
        while not self._response.complete:
            data = await self._read(reader)
            if data:
                self._response.feed(data)
            else:
                self._response.eof()
        if self._response.status == UPGRADED:
            refuse_handshake(self._response, key)
        return reader

    async def _speak(self, listening: asyncio.Task[None], *, until: float) -> None:
        now = time.monotonic()
        next_message, next_ping = now, now + PING_SECONDS
        while self._going() and now < until and not listening.done():
            if now >= next_message:
                self._say(now)
                next_message += self._options.talk_interval
            if now >= next_ping and self._ping is None:
                self._send_ping(now)
                next_ping = now + PING_SECONDS
            self._refuse_deafness(now)
            await asyncio.wait({listening}, timeout=max(0.0, min(TICK_SECONDS, next_message - now)))
            now = time.monotonic()

    def _say(self, now: float) -> None:
        self._sent.append((time.time(), now))
        number = len(self._sent)
        self._unanswered.add(number)
        self._write(Opcode.TEXT, f"witness-{self._number}-{number}".encode())

    def _send_ping(self, now: float) -> None:
        self._pings += 1
        payload = f"ping-{self._pings}".encode()
        self._ping = (payload, now)
        self._write(Opcode.PING, payload)

    def _refuse_deafness(self, now: float) -> None:
        if self._ping is not None and now - self._ping[1] > self._options.timeout:
            raise WireError("no-pong", f"no answer to {self._ping[0].decode()} within {self._options.timeout:g} s")

    async def _leave(self, listening: asyncio.Task[None]) -> None:
        """Wait for the answers that are missing, then for the answer to our close frame; what is missing stays so."""
        deadline = time.monotonic() + self._options.timeout
        while self._unanswered and not listening.done() and time.monotonic() < deadline:
            await asyncio.wait({listening}, timeout=TICK_SECONDS)
        if listening.done():
            return
        self._closer, self._code = "client", NORMAL
        self._write(Opcode.CLOSE, NORMAL.to_bytes(2, "big"))
        await asyncio.wait({listening}, timeout=self._options.timeout)
        if not listening.done():
            raise WireError("no-close", f"no answer to the close frame within {self._options.timeout:g} s")

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """Take everything until a close frame."""
        data = self._response.rest
        while True:
            for frame in self._frames.feed(data):
                if self._hear(frame):
                    return
            data = await self._read(reader)
            if not data:
                raise WireError("cut", f"the stream ended {self._frames.progress}, without a close frame")

    def _hear(self, frame: Frame) -> bool:
        if frame.opcode is Opcode.CLOSE:
            code = close_code(frame.payload)
            if self._closer is None:
                self._closer, self._code = "server", code
                self._write(Opcode.CLOSE, frame.payload[:2])
            return True
        if frame.opcode is Opcode.PING:
            self._write(Opcode.PONG, frame.payload)
        elif frame.opcode is Opcode.PONG:
            if self._ping is not None and frame.payload == self._ping[0]:
                self._ping = None
        else:
            self._take_answer(frame)
        return False

    def _take_answer(self, frame: Frame) -> None:
        text = frame.payload.decode("utf-8", "replace")
        tokens = [(int(connection), int(number)) for connection, number in TOKEN.findall(text)]
        if frame.opcode is not Opcode.TEXT or len(tokens) != 1 or not self._is_ours(*tokens[0]):
            raise WireError("foreign-message", f"{frame.opcode.name} {text[:80]!r} repeats nothing that was said here")
        number = tokens[0][1]
        self._unanswered.discard(number)
        started, began = self._sent[number - 1]
        seconds = time.monotonic() - began
        who = _identity(text)
        record = MessageRecord(
            start=round(started, 6),
            end=round(started + seconds, 6),
            ms=round(seconds * 1000, 3),
            connection=self._number,
            number=number,
            version=who.get("version"),
            instance=who.get("instance"),
            slot=who.get("slot"),
        )
        self._note(record)

    def _is_ours(self, connection: int, number: int) -> bool:
        return connection == self._number and 1 <= number <= len(self._sent)

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.read(65536)
        except OSError as error:
            raise WireError("reset", f"{type(error).__name__} ({error}) {self._where}") from error

    @property
    def _where(self) -> str:
        return self._frames.progress if self._response.complete else self._response.progress

    def _write(self, opcode: Opcode, payload: bytes) -> None:
        assert self._writer is not None
        self._writer.write(encode_frame(opcode, payload))


def _identity(text: str) -> dict[str, str]:
    """Return what an answer says about who gave it; nothing where it is no JSON object."""
    with contextlib.suppress(ValueError):
        said = json.loads(text)
        if isinstance(said, dict):
            return {name: value for name, value in said.items() if isinstance(value, str)}
    return {}
