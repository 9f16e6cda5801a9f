# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Addresses of endpoints, checked before anything is asked."""

from __future__ import annotations

import typing
from urllib.parse import urlsplit

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["Endpoint", "parse_endpoint", "printable"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_SHOWN_CHARACTERS = 100


class Endpoint(typing.NamedTuple):
    """Where to look: ``scheme`` is http, https or tcp; ``target`` is the path with the query, empty for tcp."""

    name: str
    scheme: str
    host: str
    port: int
    target: str
    headers: typing.Mapping[str, str]


def printable(text: str) -> str:
    """Return ``text`` fit for one line of a message: short, and without what would move a terminal's cursor."""
    shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
    return "".join(character if character.isprintable() else "?" for character in shown)


def parse_endpoint(
    name: str, *, url: str | None = None, tcp: str | None = None, headers: typing.Mapping[str, object] | None = None
) -> Endpoint:
    """Return the endpoint that is named by exactly one of ``url`` and ``tcp`` (``host:port``).

    Raises:
        BatonError: the address or a header cannot be used.
    """
    if not name or (url is None) == (tcp is None):
        raise _unusable(name, "neither or both of url and tcp", "a name, and either url or tcp")
    address = url if url is not None else f"tcp://{tcp}"
    scheme, host, port, target = _split(name, address, schemes=("http", "https") if tcp is None else ("tcp",))
    texts = dict(_header(name, header, value) for header, value in (headers or {}).items())
    return Endpoint(name=name, scheme=scheme, host=host, port=port, target=target, headers=texts)


def _split(name: str, address: str, *, schemes: tuple[str, ...]) -> tuple[str, str, int, str]:
    expected = "host:port" if schemes == ("tcp",) else "an http:// or https:// address"
    if not address.isascii() or not address.isprintable() or " " in address:
        raise _unusable(name, "an address with blanks, control characters or letters outside ASCII", expected)
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        port = _DEFAULT_PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
        host.encode("idna")
    except ValueError:
        host, port = "", 0
    target = parts.path + (f"?{parts.query}" if parts.query else "") if host else ""
    if not host or not port or parts.scheme not in schemes or (target and schemes == ("tcp",)):
        raise _unusable(name, f"the address {printable(address.rpartition('@')[2])!r}", expected)
    if "@" in parts.netloc:
        raise _unusable(
            name, "a user or a password in the address", f"{expected}; an Authorization belongs into headers"
        )
    return parts.scheme, host, port, target if schemes == ("tcp",) else target or "/"


def _header(name: str, header: object, value: object) -> tuple[str, str]:
    field, text = str(header), str(value)
    is_token = field.isascii() and field.replace("-", "").replace("_", "").isalnum()
    if not is_token or not isinstance(value, (str, int, float)) or not text.isascii() or not text.isprintable():
        raise _unusable(
            name,
            f"header {printable(field)!r}",
            "a name of letters, digits and dashes, and a value of one line in ASCII",
        )
    return field, text


def _unusable(name: str, found: str, expected: str) -> BatonError:
    return BatonError(
        found=f"endpoint {name!r}: {found}", expected=expected, fix="correct this item of endpoints; nothing was asked"
    )
