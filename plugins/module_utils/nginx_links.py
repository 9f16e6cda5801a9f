# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The links that an nginx, configured by this collection's role ``nginx``, follows at every request.

A request has one of 256 buckets, by chance, and goes where ``nginx.live/<bucket>`` in the state directory leads:

- ``nginx.live`` is a link to ``nginx.d/to/<slot>``, or in a rolling update to ``nginx.d/mixed.<number>``.
- In the former each bucket leads to the slot, in the latter to a seat, ``nginx.d/to/<host>_<slot>``.
- While green has 5 % of the clients it is a link to ``nginx.d/to/blue/green.5``, and each bucket leads just there. That is how nginx sees
  that there is a share, and it goes on from the same place by ``client.<number>``, for 5 of the 100 numbers to the slot green.
- ``<bucket>.else`` is where a request goes whose first way has failed: in a rolling update to another host.

Whatever ``nginx.live`` leads to is never changed, so its replacement by a rename is the whole change, at one instant. An nginx with a
configuration from before shares takes ``nginx.d/to/blue/green.5`` for ``nginx.d/to/blue``.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import time
import typing
from dataclasses import dataclass, replace
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import read_json, write_json
from ansible_collections.baton.release.plugins.module_utils.links import (
    link_text,
    make_directory,
    replace_link,
    sync_directory,
)
from ansible_collections.baton.release.plugins.module_utils.routing import WHOLE, Routing
from ansible_collections.baton.release.plugins.module_utils.slots import MIXED, NOTHING_LIVE, OUT, SLOTS, other

__all__ = ["FIRST_CLIENT", "LIVE", "NginxLinks", "ways"]

LIVE = "nginx.live"
KEPT_SECONDS = 60.0
"""For so long a worker may be in the middle of following a link that has been replaced."""
_DIRECTORY = "nginx.d"
_BUCKETS = tuple(f"{number:02x}" for number in range(256))
_ELSE = ".else"
_CLIENTS = tuple(f"client.{number:02}" for number in range(WHOLE))
FIRST_CLIENT = _CLIENTS[0]
"""The link that leads to the slot with a share, however small that is."""
_SEATS = "seats.json"
_WHOLE = re.compile(rf"{_DIRECTORY}/to/({'|'.join(SLOTS)})")
_PARTS = re.compile(rf"{_DIRECTORY}/{MIXED}\.([0-9]+)")
_SHARED = re.compile(rf"{_DIRECTORY}/to/(?:{'|'.join(f'({slot})/{other(slot)}' for slot in SLOTS)})\.([1-9][0-9]?)")

Seats = typing.Mapping[str, str]


def ways(routing: Routing) -> dict[str, str]:
    """Return for each link where it leads: the name of a slot, or <host>_<slot>; empty when nothing is live."""
    if routing.share:
        whole = ways(Routing(routing.live))
        slots = [other(routing.live)] * routing.share + [routing.live] * (WHOLE - routing.share)
        return {**whole, **dict(zip(_CLIENTS, slots))}
    if routing.live != MIXED:
        targets = [routing.live] if routing.live in SLOTS else []
    else:
        targets = [f"{host}_{slot}" for host, slot in sorted(routing.seats.items()) if slot != OUT]
    # Of two neighbours the second is another host, if there is one.
    pairs = zip(_BUCKETS, itertools.cycle(targets), itertools.cycle(targets[1:] + targets[:1]))
    return {
        name: target for bucket, first, other in pairs for name, target in ((bucket, first), (bucket + _ELSE, other))
    }


@dataclass(frozen=True)
class NginxLinks:
    """The links of one app, in its state directory on nginx's host."""

    directory: Path

    def routing(self) -> Routing:
        """Return where the links lead; the seats are empty unless they decide.

        Raises:
            BatonError: they lead to something that this collection has not made.
        """
        target = self._target()
        if target is None:
            return Routing(NOTHING_LIVE)
        if whole := _WHOLE.fullmatch(target):
            routing = Routing(whole[1])
        elif shared := _SHARED.fullmatch(target):
            routing = Routing(shared[1] or shared[2], share=int(shared[3]))
        else:
            routing = Routing(MIXED, self._seats(target))
        wrong = self._wrong(target, routing)
        return replace(routing, unsettled=f"{len(wrong)} links lead elsewhere") if wrong else routing

    def prepare(self, routing: Routing) -> str:
        """Make what ``nginx.live`` is to lead to, and return it; nothing is led there yet.

        Raises:
            BatonError: it cannot be written.
        """
        try:
            return self._prepare(routing)
        except OSError as error:
            raise self._unwritable(error) from error

    def publish(self, target: str) -> None:
        """Have ``nginx.live`` lead to what ``prepare`` returned, at one instant and over a power cut; remove what is long unused.

        Raises:
            BatonError: the link cannot be replaced.
        """
        before = link_text(self.directory / LIVE)
        try:
            if _PARTS.fullmatch(before) or _SHARED.fullmatch(before):
                with contextlib.suppress(FileNotFoundError):
                    os.utime(self.directory / before)  # since when it is unused
            replace_link(self.directory / LIVE, target)
            sync_directory(self.directory)
        except OSError as error:
            raise self._unwritable(error) from error
        self._sweep(target)

    def _target(self) -> str | None:
        link = self.directory / LIVE
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            return None
        except OSError as error:
            target = f"no link ({error.strerror})"
        if any(kind.fullmatch(target) for kind in (_WHOLE, _PARTS, _SHARED)):
            return target
        raise BatonError(
            found=f"{link} is {target[:80]!r}",
            expected=f"a link to {' or '.join(f'{_DIRECTORY}/to/{slot}' for slot in SLOTS)}, to {_DIRECTORY}/{MIXED}.<number>, or to"
            f" a share such as {_DIRECTORY}/to/{SLOTS[0]}/{SLOTS[1]}.5",
            fix="find out who made it, then have it lead to what is live: ln -sfn " + f"{_DIRECTORY}/to/<slot> {link}",
        )

    def _seats(self, target: str) -> dict[str, str]:
        path = self.directory / target / _SEATS
        seats = read_json(path) or {}
        if all(slot in (*SLOTS, OUT) for slot in seats.values()) and {*seats.values()} - {OUT}:
            return {str(host): str(slot) for host, slot in seats.items()}
        raise BatonError(
            found=f"{path} holds no seats",
            expected=f"for each app host one of {', '.join((*SLOTS, OUT))}, and a host that serves",
            fix=f"have {LIVE} lead to one slot: ln -sfn {_DIRECTORY}/to/<slot> {self.directory / LIVE}",
        )

    def _wrong(self, target: str, routing: Routing) -> list[str]:
        """Return the links that do not lead where they should, or whose end is missing."""
        there = {way for way in ways(routing).values() if (self.directory / _DIRECTORY / "to" / way).is_dir()}
        return [
            name
            for name, way in ways(routing).items()
            if way not in there or link_text(self.directory / target / name) != _text(routing, way)
        ]

    def _prepare(self, routing: Routing) -> str:
        base = self.directory / _DIRECTORY
        wanted = ways(routing)
        for path in (base, base / "to", *(base / "to" / way for way in sorted({*wanted.values()}))):
            make_directory(path)
        if routing.live != MIXED:
            target = base / "to" / routing.live
            if routing.share:
                target /= f"{other(routing.live)}.{routing.share}"
                make_directory(target)
        else:
            found = [match for path in base.iterdir() if (match := _PARTS.fullmatch(f"{_DIRECTORY}/{path.name}"))]
            target = base / f"{MIXED}.{max((int(match[1]) for match in found), default=0) + 1}"
            make_directory(target)
            write_json(target / _SEATS, dict(routing.seats))
        for name, way in wanted.items():
            replace_link(target / name, _text(routing, way))
        for path in (target, target.parent, base / "to", base, self.directory):
            sync_directory(path)
        return str(target.relative_to(self.directory))

    def _sweep(self, target: str) -> None:
        base = self.directory / _DIRECTORY
        for path in itertools.chain(base.glob(f"{MIXED}.*"), base.glob("to/*/*.*")):
            name = str(path.relative_to(self.directory))
            with contextlib.suppress(OSError):
                unused = name != target and (_PARTS.fullmatch(name) or _SHARED.fullmatch(name))
                if unused and time.time() - path.stat().st_mtime > KEPT_SECONDS:
                    shutil.rmtree(path)

    def _unwritable(self, error: OSError) -> BatonError:
        return BatonError(
            found=f"{error.filename or self.directory} cannot be written: {error.strerror or error}",
            expected="a place of this collection's own, which the user of this task may read and write",
            fix="correct the path or the permissions (become), or make room, and run again",
        )


def _text(routing: Routing, way: str) -> str:
    """Return what a link to ``way`` holds."""
    if routing.live == MIXED:
        return f"../to/{way}"
    return "." if way == routing.live else f"../../{way}"
