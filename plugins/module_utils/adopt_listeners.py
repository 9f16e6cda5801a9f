# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Whether addresses are free for the app's part of a load balancer, and whether requests come through there."""

from __future__ import annotations

import contextlib
import re
import socket
import time
import typing
from urllib.parse import urlsplit

from ansible_collections.baton.release.plugins.module_utils.adopt import MISSING, OK, UNKNOWN, Finding, Wanted
from ansible_collections.baton.release.plugins.module_utils.endpoints import parse_endpoint
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.probe import Observation, observe
from ansible_collections.baton.release.plugins.module_utils.slots import SLOTS
from ansible_collections.baton.release.plugins.module_utils.traffic_probes import AGENT

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.traffic import Request
    from ansible_collections.baton.release.plugins.module_utils.traffic_slice import AccessLog

__all__ = ["answers", "overlap", "port_of", "ways_in"]

SECONDS = 3.0
"""For an answer, and for the balancer to write it down."""
_ANY = ("", "*", "0.0.0.0", "::", "[::]")  # noqa: S104 - names what others listen on
_LOOK_EVERY = 0.05
_LARGEST_ANSWER = 1 << 16
_ADDRESS = re.compile(r"(?:ipv[46]@)?(?P<host>\[[^\]]*\]|[^:]*):(?P<port>\d+)")

Open = typing.Callable[[typing.Mapping[str, str]], "AccessLog"]


def overlap(one: str, other: str) -> bool:
    """Say whether two addresses, as configurations write them, have a port in common at which both would listen."""
    first, second = (_ADDRESS.fullmatch(f":{text}" if text.isdigit() else text) for text in (one, other))
    if not first or not second or first["port"] != second["port"]:
        return False
    hosts = {first["host"], second["host"]}
    return len(hosts) == 1 or bool(hosts & {*_ANY})


def port_of(url: str) -> str:
    """Return the port that a URL leads to."""
    parts = urlsplit(url)
    return str(parts.port or (443 if parts.scheme == "https" else 80))


def answers(address: str) -> bool:
    """Say whether something takes connections there."""
    found = _ADDRESS.fullmatch(f":{address}" if address.isdigit() else address)
    if not found:
        return False
    host = "127.0.0.1" if found["host"] in _ANY else found["host"].strip("[]")
    with contextlib.suppress(OSError), socket.create_connection((host, int(found["port"])), timeout=SECONDS):
        return True
    return False


def ways_in(wanted: Wanted, preview: typing.Mapping[str, str], opened: Open) -> list[Finding]:
    """Ask for health by each preview and by the URL of users, and see in the balancer's own record which way that came.

    ``opened`` opens this record for requests with these fields.
    """
    findings = []
    for slot in SLOTS:
        requests, seen = _seen(preview[slot] + wanted.health_path, "preview", wanted, opened)
        slots = {one.slot for one in requests}
        if slots == {slot}:
            findings.append(Finding(f"preview {slot}", OK, f"{preview[slot]} leads to {slot}"))
        else:
            there = (
                f"it leads to {', '.join(map(str, slots))}" if slots else "the balancer's record shows no such request"
            )
            findings.append(
                Finding(
                    f"preview {slot}",
                    MISSING,
                    f"{preview[slot]} {seen.detail}, and {there}",
                    f"a listener that always leads to {slot}",
                    "have it as the lines for the configuration say, or correct traffic_preview",
                )
            )
    requests, seen = _seen(wanted.url.rstrip("/") + wanted.health_path, "public", wanted, opened)
    if requests:
        return [*findings, Finding("entry", OK, f"{wanted.url} leads to what is live, looked up at the request")]
    found = f"{wanted.url} {seen.detail}, and does not come through {wanted.listen['public']}"
    expected = "users' requests to be looked up one by one there"
    return [*findings, Finding("entry", MISSING, found, expected)]


def not_asked(why: str) -> list[Finding]:
    """Return that nobody could see which way requests come."""
    return [Finding(name, UNKNOWN, f"not asked: {why}") for name in (*(f"preview {slot}" for slot in SLOTS), "entry")]


def _seen(url: str, entry: str, wanted: Wanted, opened: Open) -> tuple[list[Request], Observation]:
    try:
        endpoint = parse_endpoint(entry, url=url, headers={"User-Agent": AGENT})
    except BatonError as error:
        return [], Observation("unusable", f"cannot be asked ({error.found})")
    log = opened({"app": wanted.app_name, "entry": entry, "own": "yes"})
    try:
        seen = observe(endpoint, timeout=SECONDS, max_body=_LARGEST_ANSWER)
        deadline = time.monotonic() + (SECONDS if seen.status is not None else 0)
        requests: list[Request] = []
        while not requests:
            over = time.monotonic() >= deadline
            requests = list(log.read(last=True))
            if over:
                break
            time.sleep(_LOOK_EVERY)
        return requests, seen
    finally:
        log.close()
