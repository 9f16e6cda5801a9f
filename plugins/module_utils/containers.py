# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The container of a slot, described in full: what ``container.json`` in the slot's directory holds, and docker is given.

Its environment files are no part of it, so that nothing secret is in here.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from dataclasses import dataclass, field

__all__ = ["Bind", "Container", "from_text"]


@dataclass(frozen=True)
class Bind:
    """A directory or file of the host in the container."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Container:
    """A container that is not yet made."""

    image: str
    """As it is called."""
    address: str
    """The address of the host at which its port is published."""
    port: int
    """The port of the host; 0 where nothing is published."""
    target: int
    """The port inside, which the app is told as PORT."""
    stop_seconds: int
    image_id: str = ""
    """Which image that was when the slot was prepared; nothing else is started."""
    labels: typing.Mapping[str, str] = field(default_factory=dict)
    restart: str = "unless-stopped"
    """When the engine starts it by itself, while it is the slot that comes back."""
    command: tuple[str, ...] = ()
    """Nothing for the image's own."""
    entrypoint: tuple[str, ...] = ()
    environment: typing.Mapping[str, str] = field(default_factory=dict)
    binds: tuple[Bind, ...] = ()
    tmpfs: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    read_only: bool = False
    init: bool = False
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    memory: str = ""

    def text(self) -> str:
        """Return the text from which ``from_text`` makes the same again."""
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n"


def from_text(text: str) -> Container:
    """Return the container of which ``text`` is the text."""
    values: dict[str, typing.Any] = json.loads(text)
    binds = tuple(Bind(**one) for one in values.pop("binds"))
    given: dict[str, typing.Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return Container(binds=binds, **given)
