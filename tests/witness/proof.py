# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What proves that a download arrived whole, beyond its framing: a digest or a length that is known."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import re
import typing

from tests.witness.wire import WireError

__all__ = ["Body", "Proof", "ProofError"]

DIGEST = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]*):")
NAMED = re.compile(r"digest|sha256:[0-9a-f]{64}|bytes:[0-9]{1,18}")


class ProofError(ValueError):
    """A proof that cannot be made out."""


class Body:
    """The body of a download while it comes: its length and its SHA-256."""

    def __init__(self) -> None:
        """Expect the first byte."""
        self.size = 0
        self._hash = hashlib.sha256()

    def add(self, data: bytes) -> None:
        """Take more of it."""
        self.size += len(data)
        self._hash.update(data)

    @property
    def sha256(self) -> str:
        """The digest of what has come, in hexadecimal."""
        return self._hash.hexdigest()


@dataclasses.dataclass(frozen=True, slots=True)
class Proof:
    """What a body must be like: of the digest that its own answer tells (RFC 9530), of this SHA-256, or of this length."""

    kind: str
    value: str

    @classmethod
    def named(cls, text: str) -> Proof:
        """Return the proof ``digest``, ``sha256:HEX`` or ``bytes:NUMBER``; raise ProofError for anything else."""
        if not NAMED.fullmatch(text):
            raise ProofError(
                f"found {text!r}; expected digest (the answer's Content-Digest), sha256:HEX or bytes:NUMBER"
            )
        kind, _, value = text.partition(":")
        return cls(kind, value)

    def check(self, headers: typing.Mapping[str, str], body: Body) -> None:
        """Raise WireError unless ``body`` is what it should be."""
        if self.kind == "bytes":
            self._compare(f"{self.value} bytes", f"{body.size} bytes")
        else:
            expected = self.value if self.kind == "sha256" else _told(headers)
            self._compare(f"sha256 {expected}", f"sha256 {body.sha256}")

    @staticmethod
    def _compare(expected: str, found: str) -> None:
        if expected != found:
            raise WireError("wrong-body", f"found {found}, expected {expected}")


def _told(headers: typing.Mapping[str, str]) -> str:
    told = headers.get("content-digest", "")
    match = DIGEST.search(told)
    if match is None:
        raise WireError("no-digest", f"Content-Digest is {told!r}: nothing proves this body whole")
    try:
        return base64.b64decode(match[1], validate=True).hex()
    except binascii.Error:
        raise WireError("no-digest", f"Content-Digest is {told!r}, which is not base64") from None
