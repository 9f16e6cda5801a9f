# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A few requests of our own through a balancer, so that a watch without users is not blind."""

from __future__ import annotations

import math
import queue
import threading
import time
import typing

from ansible_collections.baton.release.plugins.module_utils.endpoints import Endpoint, parse_endpoint
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.probe import Observation, observe
from ansible_collections.baton.release.plugins.module_utils.traffic import Request

__all__ = ["AGENT", "Probes"]

AGENT = "baton.release.traffic_watch"
_LARGEST_BODY = 4 << 20
_AT_ONCE = 32
_FASTEST = 50.0  # a second


class Probes:
    """Requests at a steady rate, each in a thread of its own, so that one that hangs does not hold up the others.

    A probe that was answered, with whatever status, is in the balancer's log like any other request. What is not
    there, and is
    returned here, are those without a whole answer.
    """

    def __init__(
        self,
        *,
        url: str | None,
        paths: typing.Sequence[str],
        rate: float,
        timeout: float,
        host: str | None,
        cookie: str | None = None,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: of the balancer, without a path; None for no probes.
            paths: asked in turn.
            rate: probes a second; 0 for none.
            timeout: seconds for one probe, from connecting to the last byte.
            host: the Host header; None for what ``url`` says.
            cookie: the Cookie header; None for none.

        Raises:
            BatonError: an address cannot be used, or the rate is not one.
        """
        if not 0 <= rate <= _FASTEST:
            raise BatonError(
                found=f"probe_rate {rate:g}", expected=f"0 to {_FASTEST:g} requests a second", fix="correct the option"
            )
        given = {"Host": host, "Cookie": cookie}
        headers = {"User-Agent": AGENT, **{name: value for name, value in given.items() if value}}
        self._endpoints = [
            parse_endpoint(path, url=f"{(url or '').rstrip('/')}{path}", headers=headers) for path in paths if url
        ]
        self._rate = rate if self._endpoints else 0.0
        self.timeout = timeout
        self._begun: float | None = None
        self._seen: queue.SimpleQueue[Observation] = queue.SimpleQueue()
        self.sent = self.answered = self.failed = 0

    @property
    def interval(self) -> float:
        """Seconds from one probe to the next."""
        return 1 / self._rate if self._rate else math.inf

    @property
    def outstanding(self) -> int:
        """How many probes have not come back yet."""
        return self.sent - self.answered - self.failed - self._seen.qsize()

    def launch_due(self) -> None:
        """Send what is due since the first call, unless too many are on their way already."""
        now = time.monotonic()
        self._begun = now if self._begun is None else self._begun
        due = int((now - self._begun) * self._rate) + 1 if self._rate else 0
        for _due in range(min(due - self.sent, _AT_ONCE - self.outstanding)):
            endpoint = self._endpoints[self.sent % len(self._endpoints)]
            self.sent += 1
            threading.Thread(target=self._probe, args=(endpoint,), daemon=True).start()

    def take(self) -> typing.Iterator[Request]:
        """Yield the failures that have come in since the last call."""
        while not self._seen.empty():
            observation = self._seen.get()
            # A body that is longer than we care to read was answered all the same.
            if observation.kind in ("answered", "too_large"):
                self.answered += 1
                continue
            self.failed += 1
            yield Request(at=time.time(), slot=None, status=f"probe {observation.kind}", outcome="error", ms=None)

    def _probe(self, endpoint: Endpoint) -> None:
        self._seen.put(observe(endpoint, timeout=self.timeout, max_body=_LARGEST_BODY))
