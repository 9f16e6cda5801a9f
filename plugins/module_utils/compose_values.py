# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What the values of a Compose file mean, one by one: each is read as Compose reads it, or refused with its key and file."""

from __future__ import annotations

import re
import shlex
import typing
from pathlib import Path, PurePosixPath

from ansible_collections.baton.release.plugins.module_utils import envfile
from ansible_collections.baton.release.plugins.module_utils.containers import Bind
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import read_text

__all__ = ["Place"]

_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<braced>[A-Za-z0-9_]+)\}|(?P<plain>[A-Za-z_][A-Za-z0-9_]*)|(?P<bad>.?))"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TIME = re.compile(r"(?:(\d{1,4})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?")
_MEMORY = re.compile(r"[1-9][0-9]{0,15}([bkmg]b?)?", re.IGNORECASE)
_SHORT_PORT = re.compile(
    r"(?:(?P<address>[0-9.]+|\[[0-9A-Fa-f:]+\]):)?(?P<published>[0-9]{1,5}):(?P<target>[0-9]{1,5})(?:/tcp)?"
)
_LONGEST_FOUND = 400
_RESTARTS = ("always", "unless-stopped")
_IN_QUOTES = "write it in quotes, because YAML reads some values otherwise than a person does"


class Place(typing.NamedTuple):
    """A key of a Compose file, with what can be said of its value."""

    file: str
    key: str
    release: Path
    """The directory of the file, to which paths in it are relative."""
    variables: typing.Mapping[str, str]
    """What ``${NAME}`` may stand for."""

    def at(self, key: object) -> Place:
        """Return the place of a key inside of this one."""
        return self._replace(key=f"{self.key}.{key}" if self.key else str(key))

    def refused(self, found: str, expected: str, fix: str = "correct it in the release") -> BatonError:
        """Return the refusal of what is here."""
        said = f"{self.file}: {self.key}: {found}" if self.key else f"{self.file}: {found}"
        # Keys are not of our making: none may move a terminal's cursor.
        shown = "".join(one if one.isprintable() else "?" for one in said[:_LONGEST_FOUND])
        return BatonError(found=shown, expected=expected, fix=f"{fix}; nothing was touched")

    def text(self, value: object) -> str:
        """Return a text, with its variables put in."""
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or "\0" in value:
            raise self.refused(f"{type(value).__name__} where a text belongs", "a text", _IN_QUOTES)
        return _VARIABLE.sub(self._put_in, value)

    def _put_in(self, found: re.Match[str]) -> str:
        if found["dollar"]:
            return "$"
        name = found["braced"] or found["plain"] or ""
        if name not in self.variables:
            expected = f"only {', '.join(f'${{{one}}}' for one in self.variables)}, and $$ for a dollar sign"
            raise self.refused(f"the variable {found[0]}", expected)
        return self.variables[name]

    def truth(self, value: object) -> bool:
        """Return true or false."""
        if not isinstance(value, bool):
            raise self.refused(f"{value!r}", "true or false")
        return value

    def texts(self, value: object) -> tuple[str, ...]:
        """Return a list of texts; a single text is a list of one."""
        if isinstance(value, str):
            return (self.text(value),)
        return tuple(self.text(one) for one in self._list(value))

    def words(self, value: object) -> tuple[str, ...]:
        """Return a command: a list of words, or a line that is split as a shell does."""
        if not isinstance(value, str):
            return tuple(self.text(one) for one in self._list(value))
        try:
            return tuple(shlex.split(self.text(value)))
        except ValueError as error:
            raise self.refused(f"{value!r} ({error})", "a command, with each quote closed") from error

    def environment(self, value: object) -> dict[str, str]:
        """Return an environment, from names with values or a list of NAME=value."""
        pairs = (
            [(name, self.at(name), one) for name, one in value.items()]
            if isinstance(value, dict)
            else [
                (name, self.at(name), one)
                for name, _sign, one in (self._assignment(line) for line in self._list(value))
            ]
        )
        for name, place, _one in pairs:
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise place.refused("no name of a variable", "letters, digits and _, no digit first")
        return {name: place.text(one) for name, place, one in pairs}

    def _assignment(self, line: object) -> tuple[str, str, str]:
        if not isinstance(line, str) or "=" not in line:
            raise self.refused(
                f"{str(line)[:40]!r}", "NAME=value; what the shell of a person holds is not there on a host"
            )
        return line.partition("=")

    def env_files(self, value: object) -> dict[str, str]:
        """Return what is in the environment files of the release that are named."""
        found: dict[str, str] = {}
        for name in self.texts(value):
            text = read_text(self._inside(name))
            if text is None:
                raise self.refused(f"{name} is not in the release", "a file of the release")
            found.update(envfile.parse(text, source=f"{self.file}: {self.key}: {name}"))
        return found

    def binds(self, value: object) -> tuple[Bind, ...]:
        """Return the directories and files of the host that the container sees."""
        return tuple(self._bind(one) for one in self._list(value))

    def _bind(self, value: object) -> Bind:
        found = self._long_bind(value) if isinstance(value, dict) else self._short_bind(value)
        if found is None or not found.source.startswith(("/", "./")) or not found.target.startswith("/"):
            expected = "a path of the host and one of the container, as /var/lib/shop:/data or ./config:/config:ro"
            raise self.refused(f"{value!r}", f"{expected}; volumes of docker's own are not known here")
        if found.source.startswith("/"):
            return found
        if not found.read_only:
            expected = "the release read-only, with :ro, because it is the same as long as it is kept"
            raise self.refused(f"{value!r}", expected)
        return Bind(str(self._inside(found.source)), found.target, read_only=True)

    def _short_bind(self, value: object) -> Bind | None:
        source, target, *mode = self.text(value).split(":") if isinstance(value, str) and ":" in value else ("", "")
        return Bind(source, target, mode == ["ro"]) if mode in ([], ["ro"], ["rw"]) else None

    def _long_bind(self, value: dict[typing.Any, object]) -> Bind | None:
        if value.get("type") != "bind" or not {*value} <= {"type", "source", "target", "read_only"}:
            return None
        source, target = (self.at(name).text(value.get(name)) for name in ("source", "target"))
        return Bind(source, target, self.at("read_only").truth(value.get("read_only", False)))

    def published(self, value: object, port: int, address: str) -> int:
        """Return the port inside of the one that is published as ``port`` of the host, at ``address``."""
        expected = f'one port, published as that of the slot: "${{PORT}}:8000" ({port} here) with the app\'s own port'
        listed = self._list(value)
        if len(listed) != 1:
            raise self.refused(f"{len(listed)} ports", expected)
        (one,) = listed
        if isinstance(one, dict) and {*one} <= {"target", "published", "protocol", "mode", "host_ip"}:
            given = {name: self.at(name).text(inner) for name, inner in one.items()}
            if (given.get("protocol", "tcp"), given.get("mode", "host")) != ("tcp", "host"):
                raise self.refused(f"{one!r}", expected)
            host, outside, inside = (given.get(name, "") for name in ("host_ip", "published", "target"))
        else:
            found = _SHORT_PORT.fullmatch(self.text(one)) if isinstance(one, str) else None
            if not found:
                raise self.refused(
                    f"{one!r}", expected, _IN_QUOTES if isinstance(one, int) else "correct it in the release"
                )
            host, outside, inside = (found["address"] or "").strip("[]"), found["published"], found["target"]
        if host not in ("", address):
            raise self.refused(f"the address {host}", f"none, or {address} as app_docker_address says")
        if outside != str(port) or not inside.isdigit() or not 0 < int(inside) < 65_536:  # noqa: PLR2004 - all ports
            raise self.refused(f"{one!r}", expected)
        return int(inside)

    def seconds(self, value: object) -> int:
        """Return a time such as 30s or 1m30s in seconds."""
        found = _TIME.fullmatch(value) if isinstance(value, str) and value else None
        if not found:
            raise self.refused(f"{value!r}", "a time in whole seconds such as 30s or 1m30s")
        hours, minutes, seconds = (int(one or 0) for one in found.groups())
        return 3600 * hours + 60 * minutes + seconds

    def memory(self, value: object) -> str:
        """Return an amount of memory such as 512m."""
        text = self.text(value)
        if not _MEMORY.fullmatch(text):
            raise self.refused(f"{text!r}", "an amount of memory such as 512m or 2g")
        return text

    def restart(self, value: object) -> str:
        """Return when the engine starts the container by itself."""
        if value not in _RESTARTS:
            expected = f"{' or '.join(_RESTARTS)}, which hold while this is the slot that comes back"
            raise self.refused(f"{value!r}", expected, "leave it out, or choose one of these")
        return str(value)

    def image(self, value: object) -> str:
        """Return the name of an image that is always the same one."""
        name = self.text(value)
        if not is_fixed(name):
            raise self.refused(f"{name!r}", "an image with a tag other than latest, or a digest")
        return name

    def _list(self, value: object) -> list[typing.Any]:
        if not isinstance(value, list):
            raise self.refused(f"{value!r}", "a list")
        return value

    def _inside(self, name: str) -> Path:
        if name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise self.refused(f"{name!r}", "a path inside of the release")
        path = self.release / name
        # A link of the release could lead anywhere.
        if path.exists() and self.release.resolve() not in (path.resolve(), *path.resolve().parents):
            raise self.refused(f"{name!r}, which leads to {path.resolve()}", "a path inside of the release")
        return path


def is_fixed(name: str) -> bool:
    """Say whether the name of an image has a digest, or a tag that is not for the newest one there is."""
    tag = name.rpartition("/")[2].partition(":")[2]
    return bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,400}", name)) and (
        "@sha256:" in name or tag not in ("", "latest")
    )
