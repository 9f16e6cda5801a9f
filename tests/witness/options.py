# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a run is asked to do, and what it refuses before it begins."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import math
import resource
import socket
import urllib.parse

from tests.witness.proof import Proof, ProofError

__all__ = [
    "MAX_BACKLOG_SECONDS",
    "Options",
    "Target",
    "UsageError",
    "allow_descriptors",
    "longest_end",
    "loopback_target",
]

MAX_RATE = 2000.0
MAX_SECONDS = 86400.0
MAX_TIMEOUT_SECONDS = 60.0
MAX_DOWNLOAD_SECONDS = 600.0
MAX_STREAMS = 200
# A schedule further behind than this (a stopped or starved process) skips requests instead of sending a flood.
MAX_BACKLOG_SECONDS = 0.5
SPARE_DESCRIPTORS = 64


class UsageError(Exception):
    """A run that must not begin as it was asked for."""


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and what the Host header says."""

    address: str
    port: int
    host: str


def loopback_target(url: str) -> Target:
    """Return the target that ``url`` names; raise UsageError unless it is plain HTTP on this very machine."""
    parts = urllib.parse.urlsplit(url)
    if (
        parts.scheme != "http"
        or not parts.hostname
        or parts.path not in {"", "/"}
        or parts.query
        or "@" in parts.netloc
    ):
        raise UsageError(f"--url is {url!r}; expected http://127.0.0.1:PORT, with the paths given by --path and --post")
    try:
        port = parts.port or 80
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise UsageError(f"--url {url!r} leads nowhere: {error}") from error
    addresses = [str(entry[4][0]) for entry in found]
    foreign = [address for address in addresses if not ipaddress.ip_address(address.partition("%")[0]).is_loopback]
    if foreign:
        raise UsageError(
            f"{parts.hostname} is {foreign[0]}, not a loopback address; a load tool may only aim at its own machine"
        )
    # Of localhost's two addresses, servers for tests listen on the IPv4 one.
    return Target(min(addresses, key=lambda address: ":" in address), port, parts.netloc)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to send; times are seconds.

    ``rate`` is requests per second in total, ``posts`` are (path, JSON), ``post_share`` is a part of 1. Beside these run
    ``streams`` downloads at once, each read at ``pace`` bytes per second at most, of the paths in ``downloads`` (path,
    proof); and ``talkers`` WebSockets at once on the paths in ``websockets``, each for ``talk_seconds``, with a message
    every ``talk_interval``.
    """

    target: Target
    seconds: float
    rate: float = 150.0
    paths: tuple[str, ...] = ("/",)
    posts: tuple[tuple[str, str], ...] = ()
    post_share: float = 0.2
    connections: int = 16
    timeout: float = 5.0
    downloads: tuple[tuple[str, str], ...] = ()
    streams: int = 2
    pace: float = 65536.0
    download_timeout: float = 60.0
    websockets: tuple[str, ...] = ()
    talkers: int = 4
    talk_seconds: float = 10.0
    talk_interval: float = 0.5

    def __post_init__(self) -> None:
        """Raise UsageError for what cannot be done or should not."""
        _within("--seconds", self.seconds, MAX_SECONDS)
        _within("--rate", self.rate, MAX_RATE)
        _within("--timeout", self.timeout, MAX_TIMEOUT_SECONDS)
        _within("--connections", self.connections, 1000)
        _within("--streams", self.streams, MAX_STREAMS)
        _within("--pace", self.pace, math.inf)
        _within("--download-timeout", self.download_timeout, MAX_DOWNLOAD_SECONDS)
        _within("--talkers", self.talkers, MAX_STREAMS)
        _within("--talk-seconds", self.talk_seconds, MAX_SECONDS)
        _within("--talk-interval", self.talk_interval, MAX_TIMEOUT_SECONDS)
        if not 0 <= self.post_share <= 1:
            raise UsageError(f"--post-share is {self.post_share:g}; expected 0 to 1")
        if not self.paths:
            raise UsageError("no path to get; give at least one --path")
        pairs = (*self.posts, *self.downloads)
        for path in (*self.paths, *self.websockets, *(path for path, _ in pairs)):
            if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
                raise UsageError(f"path {path!r} must begin with / and be written as in a request line")
        for path, body in self.posts:
            _require_json(path, body)
        for path, proof in self.downloads:
            _require_proof(path, proof)


def longest_end(*, timeout: float, download_timeout: float, has_downloads: bool, has_websockets: bool) -> float:
    """Return how many seconds a run that was told to stop may need for what is under way.

    A WebSocket may be opening, then wait for answers, then for the answer to its close frame.
    """
    return max(timeout * (3 if has_websockets else 1), download_timeout if has_downloads else 0.0)


def _within(option: str, value: float, most: float) -> None:
    if not 0 < value <= most:
        raise UsageError(f"{option} is {value:g}; expected more than 0 and at most {most:g}")


def _require_json(path: str, body: str) -> None:
    try:
        json.loads(body)
    except ValueError as error:
        raise UsageError(f"the body for {path} is not JSON: {error}") from error


def _require_proof(path: str, proof: str) -> None:
    try:
        Proof.named(proof)
    except ProofError as error:
        raise UsageError(f"the proof for {path}: {error}") from error


def allow_descriptors(options: Options) -> None:
    """Raise the limit of open files so that even a server that answers nothing is witnessed; else raise UsageError."""
    lasting = options.connections + options.streams + options.talkers
    needed = math.ceil(options.rate * (options.timeout + MAX_BACKLOG_SECONDS)) + lasting + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise UsageError(
            f"{needed} connections may be open at once, and {hard} files are allowed; lower --rate or --timeout"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
