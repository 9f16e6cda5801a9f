# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""One connection that hides nothing: whatever the server does to it, also between requests, is seen and told."""

from __future__ import annotations

import asyncio
import socket
import time
import typing

from tests.witness.ledger import Kind, Record
from tests.witness.wire import ResponseParser, WireError

__all__ = ["Link"]

SLOW_BUFFER_BYTES = 16384


class Link(asyncio.Protocol):
    """A connection that carries one request at a time and is never opened a second time."""

    def __init__(self, number: int, *, pace: float | None = None) -> None:
        """Take the ``number`` under which the ledger knows it, and the bytes per second to read at most."""
        self.number = number
        self.sent = 0
        self.response: ResponseParser | None = None
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[None] | None = None
        self._idle_fault: tuple[str, str, float] | None = None
        self._unasked = 0
        self._pace = pace

    @property
    def progress(self) -> str:
        """Where the present request stands, in words."""
        if self._transport is None:
            return "while connecting"
        return self.response.progress if self.response is not None else "before sending"

    @property
    def answered(self) -> bool:
        """Whether the response to the last request has come, whole and alone."""
        return self.response is not None and self.response.complete and not self.response.leftover + self._unasked

    async def exchange(
        self, host: str, port: int, request: bytes, *, on_body: typing.Callable[[bytes], object] | None = None
    ) -> ResponseParser:
        """Send ``request`` (on the first one: connect before) and return the whole response, or raise WireError.

        The bytes of the body go to ``on_body`` as they come.
        """
        self.sent += 1
        self.response = None
        if self._transport is None:
            await self._connect(host, port)
        self._refuse_if_spoiled()
        assert self._transport is not None
        self.response = response = ResponseParser(on_body=on_body)
        self._answer = asyncio.get_running_loop().create_future()
        try:
            self._transport.write(request)
            await self._answer
        finally:
            self._answer = None
        self.leftover_fault()
        return response

    def leftover_fault(self) -> None:
        """Raise WireError if bytes have come that no request asked for."""
        count = self._unasked + (self.response.leftover if self.response is not None else 0)
        if count:
            raise WireError("leftover-bytes", f"{count} bytes came after the response to request {self.sent}")

    def record(
        self, *, kind: Kind, method: str, path: str, started: float, seconds: float, error: str | None
    ) -> Record:
        """Return the record of the last request: begun at ``started`` (Unix seconds), ended after so many ``seconds``."""
        response = self.response
        headers = response.headers if response is not None else {}
        return Record(
            start=round(started, 6),
            end=round(started + seconds, 6),
            ms=round(seconds * 1000, 3),
            method=method,
            path=path,
            kind=kind,
            connection=self.number,
            nth=self.sent,
            status=response.status if response is not None else None,
            error=error,
            version=headers.get("x-version"),
            instance=headers.get("x-instance"),
            slot=headers.get("x-slot"),
            body_bytes=response.body_bytes if response is not None else 0,
        )

    def close(self) -> None:
        """Close, whatever the state."""
        if self._transport is not None:
            self._transport.abort()

    async def _connect(self, host: str, port: int) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, host, port)
        except ConnectionRefusedError as error:
            raise WireError("refused", error.strerror or str(error)) from error
        except ConnectionResetError as error:
            raise WireError("reset", "while connecting") from error
        except OSError as error:
            raise WireError("connect-failed", str(error)) from error

    def _refuse_if_spoiled(self) -> None:
        if self._unasked:
            raise WireError(
                "leftover-bytes",
                f"{self._unasked} bytes had come unasked on the idle connection; this request was not sent",
            )
        if self._idle_fault is not None:
            kind, how, when = self._idle_fault
            if self.sent == 1:
                raise WireError(kind, f"{how} before the request could be sent")
            ago = time.monotonic() - when
            raise WireError("closed-while-idle", f"{how} {ago:.3f} s before this request, without an announced close")

    def _settle(self, fault: WireError | None) -> None:
        assert self._answer is not None
        if fault is None:
            self._answer.set_result(None)
        else:
            self._answer.set_exception(fault)

    @property
    def _waiting(self) -> bool:
        return self._answer is not None and not self._answer.done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = typing.cast("asyncio.Transport", transport)
        if self._pace is not None:
            # Else the whole body would be read at once into the system's buffers, and only looked at slowly.
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        """Feed the response that is waited for; anything else came unasked."""
        if not self._waiting:
            self._unasked += len(data)
            return
        assert self.response is not None
        self._rest(len(data))
        try:
            self.response.feed(data)
        except WireError as fault:
            self._settle(fault)
        else:
            if self.response.complete:
                self._settle(None)

    def _rest(self, count: int) -> None:
        if self._pace is not None and self._transport is not None:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(count / self._pace, self._transport.resume_reading)

    def eof_received(self) -> None:
        """Let the response decide whether the end comes in time; then close."""
        if not self._waiting:
            self._idle_fault = self._idle_fault or ("eof-before-status", "end of stream", time.monotonic())
            return
        assert self.response is not None
        try:
            self.response.eof()
        except WireError as fault:
            self._settle(fault)
        else:
            self._settle(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Turn what the operating system said into a fault of the request under way, or of the next one."""
        how = f"{type(exc).__name__} ({exc})" if exc is not None else "closed"
        if not self._waiting:
            self._idle_fault = self._idle_fault or ("reset", how, time.monotonic())
            return
        assert self.response is not None
        self._settle(WireError("reset", f"{how} {self.response.progress}"))
