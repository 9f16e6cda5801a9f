# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Clients of a balancer as browsers are: each keeps the cookies that it is given, and asks again and again."""

from __future__ import annotations

import http.client
import http.cookies
import math
import threading
from concurrent.futures import ThreadPoolExecutor

__all__ = ["COOKIE", "Client", "Crowd", "near"]

COOKIE = "baton_share"
_AT_ONCE = 8


class Client:
    """One client; ``slots`` are the slots that have answered it, one after the other, ``failed`` what was no answer."""

    def __init__(self, address: str) -> None:
        """Know nothing yet."""
        self.address = address
        self.cookie = ""
        self.attributes: set[str] = set()
        self.slots: list[str] = []
        self.failed: list[str] = []

    def ask(self) -> str:
        """Ask once, over a connection of its own; return the slot that answered, "" for a failure."""
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request("GET", "/", headers={"Cookie": f"theme=dark; {self.cookie}"} if self.cookie else {})
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            self.failed.append(repr(error))
            return ""
        finally:
            connection.close()
        for given in response.headers.get_all("Set-Cookie", []):
            if given.startswith(f"{COOKIE}="):
                self.cookie, *attributes = given.split("; ")
                self.attributes = set(attributes)
        slot = response.getheader("X-Slot") or ""
        if response.status == http.client.OK and slot:
            self.slots.append(slot)
        else:
            self.failed.append(str(response.status))
        return slot


class Crowd:
    """Many clients."""

    def __init__(self, address: str, size: int) -> None:
        """Have ``size`` of them."""
        self.clients = [Client(address) for _ in range(size)]
        self._stop = threading.Event()

    def ask(self) -> list[str]:
        """Have each ask once; return the slots in the order of the clients."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(Client.ask, self.clients))

    def failures(self) -> list[str]:
        """Return all that was no answer."""
        return [failure for client in self.clients for failure in client.failed]

    def moved_back(self, to: str) -> list[Client]:
        """Return the clients that were answered by another slot and then again by ``to``."""

        def back(slots: list[str]) -> bool:
            others = [index for index, slot in enumerate(slots) if slot != to]
            return bool(others) and to in slots[others[0] :]

        return [client for client in self.clients if back(client.slots)]


def near(count: int, share: int, size: int) -> bool:
    """Say whether ``count`` of ``size`` clients may be a share of so many per cent: within four standard deviations."""
    expected = size * share / 100
    return abs(count - expected) <= 4 * math.sqrt(expected * (1 - share / 100))
