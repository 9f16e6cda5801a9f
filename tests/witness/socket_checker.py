# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The judgement of WebSockets: pure functions over their lines in a ledger."""

from __future__ import annotations

import dataclasses
import typing

from tests.witness.ledger import Ledger, MessageRecord, SocketRecord

__all__ = ["SocketFault", "socket_faults", "wrong_socket_versions"]

UPGRADED = 101
# RFC 6455, 7.4.1 and the registry there: done, going away, restarting. The client was told, and can open another one.
GOOD_CODES = {1000, 1001, 1012}
MAX_NAMED = 10


@dataclasses.dataclass(frozen=True, slots=True)
class SocketFault:
    """What was wrong, and the line that shows it."""

    why: str
    record: SocketRecord | MessageRecord


def socket_faults(ledger: Ledger) -> list[SocketFault]:
    """Return each fault: not opened, cut, ended with an error, messages lost, doubled, out of order or of two versions.

    What was lost is known only of connections that have ended.
    """
    answers: dict[int, list[MessageRecord]] = {}
    for message in ledger.messages:
        answers.setdefault(message.connection, []).append(message)
    faults: list[SocketFault] = []
    for socket in ledger.sockets:
        faults += [SocketFault(why, socket) for why in _ended(socket)]
        faults += _lost(socket, answers.get(socket.connection, []))
        faults += _of_another_version(socket, answers.get(socket.connection, []))
    for messages in answers.values():
        faults += _out_of_order(messages)
    return faults


def _ended(socket: SocketRecord) -> typing.Iterator[str]:
    if socket.error is not None:
        yield socket.error
    elif socket.status != UPGRADED:
        yield f"not opened: status {socket.status}"
    elif socket.code not in GOOD_CODES:
        yield f"closed by the {socket.closer} with code {socket.code}" if socket.closer else "cut: no close frame"


def _lost(socket: SocketRecord, answers: list[MessageRecord]) -> typing.Iterator[SocketFault]:
    answered = {message.number for message in answers}
    lost = [number for number in range(1, socket.sent + 1) if number not in answered]
    if lost:
        more = f" and {len(lost) - MAX_NAMED} more" if len(lost) > MAX_NAMED else ""
        named = ", ".join(str(number) for number in lost[:MAX_NAMED])
        yield SocketFault(f"lost: no answer to message {named}{more} of {socket.sent}", socket)


def _of_another_version(socket: SocketRecord, answers: list[MessageRecord]) -> typing.Iterator[SocketFault]:
    for message in answers:
        if message.version is not None and socket.version is not None and message.version != socket.version:
            yield SocketFault(f"changed: {message.version} answers on a connection to {socket.version}", message)


def _out_of_order(messages: list[MessageRecord]) -> typing.Iterator[SocketFault]:
    seen: set[int] = set()
    highest = 0
    for message in messages:
        if message.number in seen:
            yield SocketFault(f"doubled: message {message.number} was answered before", message)
        elif message.number < highest:
            yield SocketFault(f"reordered: message {message.number} was answered after {highest}", message)
        seen.add(message.number)
        highest = max(highest, message.number)


def wrong_socket_versions(ledger: Ledger, expected: typing.Collection[str]) -> list[SocketRecord | MessageRecord]:
    """Return what was opened or answered by a version that is not ``expected``; answers may name none."""
    sockets = [one for one in ledger.sockets if one.status == UPGRADED and one.version not in expected]
    messages = [one for one in ledger.messages if one.version is not None and one.version not in expected]
    return [*sockets, *messages]
