# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The one error family of the collection: what was found, what was expected, and what to do about it."""

from __future__ import annotations

from typing import Any

__all__ = ["BatonError"]


class BatonError(Exception):
    """A refusal or a failure that a person has to understand.

    Utilities raise it; only a module's ``main`` turns it into ``fail_json``.
    """

    def __init__(self, *, found: str, expected: str, fix: str, **details: Any) -> None:
        """Say what was ``found``, what was ``expected`` and how to ``fix`` it; ``details`` join the module's result."""
        super().__init__(f"Found: {found}. Expected: {expected}. To do: {fix}.")
        self.found, self.expected, self.fix = found, expected, fix
        self.details = details

    def as_result(self) -> dict[str, Any]:
        """Return the keyword arguments for ``fail_json``."""
        return {"msg": str(self), **self.details}
