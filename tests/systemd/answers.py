"""What clients of a load balancer get."""

from __future__ import annotations

import contextlib
import http.client
import time
from urllib.parse import urlsplit

__all__ = ["first_answer"]

PATIENCE_SECONDS = 20.0


def first_answer(url: str) -> str:
    """Return status and version of the first answer that a client gets, whatever it is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/")
            answer = connection.getresponse()
            return f"{answer.status} {answer.getheader('X-Version')}"
        time.sleep(0.05)
    raise AssertionError(f"nothing answers at {url}")
