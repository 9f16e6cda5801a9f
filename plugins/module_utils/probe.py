# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""One bounded look at one endpoint: whatever the other side does, an ``Observation`` comes out of it, in time."""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import queue
import socket
import ssl
import threading
import time
import typing

from ansible_collections.baton.release.plugins.module_utils.endpoints import Endpoint, printable

__all__ = ["Observation", "Probes", "observe"]


class Observation(typing.NamedTuple):
    """What one look at an endpoint has shown.

    ``kind`` is ``answered`` (a whole HTTP answer), ``connected`` (TCP), or why there was neither: ``refused``,
    ``reset``, ``timeout``, ``tls``, ``protocol``, ``too_large``, ``unreachable``. ``detail`` says it in words; ``ms``
    are the milliseconds it took.
    """

    kind: str
    detail: str
    status: int | None = None
    body: bytes = b""
    ms: int = 0


def observe(endpoint: Endpoint, *, timeout: float, max_body: int) -> Observation:
    """Look at ``endpoint`` once.

    Args:
        endpoint: where to look. Redirects are not followed and no proxy is used: this is about that very process.
        timeout: seconds for everything together: connecting, TLS, sending, and reading to the last byte.
        max_body: bytes of the body that are read at most.

    Returns:
        The observation, never an exception for what the other side did.
    """
    started = time.monotonic()
    try:
        observation = _ask(endpoint, deadline=started + timeout, max_body=max_body)
    except (OSError, http.client.HTTPException) as error:
        observation = _failure(error, timeout)
    return observation._replace(ms=round((time.monotonic() - started) * 1000))


def _ask(endpoint: Endpoint, *, deadline: float, max_body: int) -> Observation:
    with _TimedSocket(endpoint, deadline) as connected:
        if endpoint.scheme == "tcp":
            return Observation("connected", "accepts connections")
        client = http.client.HTTPSConnection if endpoint.scheme == "https" else http.client.HTTPConnection
        connection = client(endpoint.host, endpoint.port)
        # An assigned socket keeps HTTPConnection from connecting on its own, without the deadline.
        connection.sock = typing.cast("socket.socket", connected)
        headers = {
            "Accept": "application/json",
            "User-Agent": "baton.release",
            "Connection": "close",
            **endpoint.headers,
        }
        connection.request("GET", endpoint.target, headers=headers)
        with contextlib.closing(connection.getresponse()) as response:
            return _read(response, max_body)


def _read(response: http.client.HTTPResponse, max_body: int) -> Observation:
    body = response.read(max_body + 1)
    answered = f"answers {response.status}"
    if len(body) > max_body:
        return Observation("too_large", f"{answered} with a body of more than {max_body} bytes", response.status)
    if response.length:
        return Observation(
            "protocol", f"{answered}, but ends {response.length} bytes before the announced end", response.status
        )
    location = response.getheader("Location")
    if location is not None:
        answered = f"{answered} to {printable(location)}"
    return Observation("answered", answered, response.status, body)


class _TimedSocket:
    """A connection whose every wait is cut at one deadline, so that a byte now and then does not buy more time.

    It has what ``http.client`` needs of a socket and no more.
    """

    def __init__(self, endpoint: Endpoint, deadline: float) -> None:
        self._deadline = deadline
        self._socket = self._connect(endpoint)
        if endpoint.scheme == "https":
            try:
                self._socket = _tls_context().wrap_socket(self._timed(self._socket), server_hostname=endpoint.host)
            except BaseException:
                self._socket.close()
                raise

    def _connect(self, endpoint: Endpoint) -> socket.socket:
        failure: OSError = OSError("the name has no address")
        for family, kind, protocol, _canonical, address in socket.getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM
        ):
            candidate = socket.socket(family, kind, protocol)
            try:
                self._timed(candidate).connect(address)
            except OSError as error:
                candidate.close()
                failure = error
            else:
                return candidate
        raise failure

    def _timed(self, connection: socket.socket) -> socket.socket:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise socket.timeout
        connection.settimeout(remaining)
        return connection

    def __enter__(self) -> _TimedSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def sendall(self, data: bytes) -> None:
        self._timed(self._socket).sendall(data)

    def receive_into(self, buffer: bytearray | memoryview) -> int:
        return self._timed(self._socket).recv_into(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Received(self))

    def close(self) -> None:
        """Do nothing yet: http.client closes its connection before it reads a body that ends with the connection."""


class _Received(io.RawIOBase):
    def __init__(self, connection: _TimedSocket) -> None:
        super().__init__()
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: typing.Any) -> int:
        return self._connection.receive_into(buffer)


@functools.lru_cache(maxsize=1)
def _tls_context() -> ssl.SSLContext:
    return ssl.create_default_context()


# From the particular to the general: nearly all of them are an OSError too, and RemoteDisconnected is bad HTTP as well.
_FAILURES: tuple[tuple[type[Exception], str, str], ...] = (
    (socket.timeout, "timeout", "gives no whole answer within {timeout:g} s"),
    (ConnectionRefusedError, "refused", "refuses connections"),
    (http.client.RemoteDisconnected, "reset", "closes the connection without an answer"),
    (ConnectionError, "reset", "cuts the connection"),
    (ssl.SSLError, "tls", "TLS fails: {error}"),
    (http.client.IncompleteRead, "protocol", "ends in the middle of the body"),
    (http.client.HTTPException, "protocol", "does not speak HTTP: {error}"),
    (OSError, "unreachable", "cannot be reached: {error}"),
)


def _failure(error: Exception, timeout: float) -> Observation:
    kind, detail = next((kind, detail) for family, kind, detail in _FAILURES if isinstance(error, family))
    reason = (
        getattr(error, "verify_message", "") or getattr(error, "strerror", "") or str(error) or type(error).__name__
    )
    return Observation(kind, detail.format(timeout=timeout, error=printable(reason)))


class Probes:
    """Looks at endpoints in the background, one thread for each look; the caller bounds how many there are.

    The threads are daemons: one that hangs (in a name lookup, say) does not keep the process from ending.
    """

    def __init__(self, endpoints: typing.Sequence[Endpoint], *, timeout: float, max_body: int) -> None:
        """Take the endpoints, from here on known by index; ``timeout`` and ``max_body`` are those of ``observe``."""
        self._endpoints = endpoints
        self._timeout = timeout
        self._max_body = max_body
        self._finished: queue.SimpleQueue[tuple[int, Observation]] = queue.SimpleQueue()

    def start(self, index: int) -> None:
        """Begin one look at an endpoint."""
        threading.Thread(target=self._look, args=(index,), daemon=True).start()

    def finished(self, seconds: float) -> typing.Iterator[tuple[int, Observation]]:
        """Give the looks that have ended; when there are none, wait for the first, at most so many ``seconds``."""
        with contextlib.suppress(queue.Empty):
            yield self._finished.get(timeout=max(0.0, seconds))
            while True:
                yield self._finished.get_nowait()

    def _look(self, index: int) -> None:
        self._finished.put((index, observe(self._endpoints[index], timeout=self._timeout, max_body=self._max_body)))
