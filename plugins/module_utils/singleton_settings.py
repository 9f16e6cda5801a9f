# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a singleton is given: its command and how long it may take to end. Pure, for the plan and for the host alike."""

from __future__ import annotations

import hashlib
import json
import typing
from dataclasses import dataclass

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.rules import SINGLETON, STOP_SECONDS, VALUE
from ansible_collections.baton.release.plugins.module_utils.settings_types import number_of

__all__ = ["DEFAULT_STOP_SECONDS", "Singleton", "host_of", "singletons_of"]

DEFAULT_STOP_SECONDS = 30
_KEYS = ("command", "host", "stop_seconds")


@dataclass(frozen=True)
class Singleton:
    """What one singleton is given."""

    command: tuple[str, ...]
    stop_seconds: int = DEFAULT_STOP_SECONDS

    @property
    def digest(self) -> str:
        """A digest of what it is given: the plan compares it without seeing the command."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()[:16]

    def as_json(self) -> dict[str, typing.Any]:
        """Return it as it is written to a file."""
        return {"command": list(self.command), "stop_seconds": self.stop_seconds}


def singletons_of(given: typing.Mapping[str, typing.Any]) -> dict[str, Singleton | None]:
    """Return each singleton of ``given`` by its name, as slot_singletons has them; None for one that says nothing, ``{}``.

    Raises:
        BatonError: one of them is no good.
    """
    return {name: _singleton(name, one) for name, one in given.items()}


def host_of(given: typing.Mapping[str, typing.Any], name: str) -> str:
    """Return the app host that was named for a singleton, "" for none."""
    return str(given[name].get("host") or "")


def _singleton(name: object, given: object) -> Singleton | None:
    if not SINGLETON.holds(name):
        raise _unfit(f"the name {name!r:.80}", SINGLETON.expected)
    if not isinstance(given, dict):
        raise _unfit(f"{name}: {type(given).__name__}", "a dictionary")
    strange = sorted(str(key) for key in given if key not in _KEYS)
    if strange:
        raise _unfit(f"{name}: the unknown key {strange[0]!r:.80}", f"only {', '.join(_KEYS)}")
    if not given:
        return None
    command, stop_seconds = given.get("command"), given.get("stop_seconds", DEFAULT_STOP_SECONDS)
    if not isinstance(command, (list, tuple)) or not command or not all(VALUE.holds(word) for word in command):
        raise _unfit(f"{name}.command", f"what runs it, word by word: at least one, each {VALUE.expected}")
    seconds = number_of(stop_seconds)
    if seconds is None or not seconds.is_integer() or not STOP_SECONDS.holds(stop_seconds):
        raise _unfit(f"{name}.stop_seconds", STOP_SECONDS.expected)
    if not isinstance(given.get("host", ""), str):
        raise _unfit(f"{name}.host", "the name of an app host")
    return Singleton(tuple(str(word) for word in command), int(seconds))


def _unfit(found: str, expected: str) -> BatonError:
    return BatonError(
        found=f"singletons: {found}", expected=expected, fix="correct slot_singletons; nothing was touched"
    )
