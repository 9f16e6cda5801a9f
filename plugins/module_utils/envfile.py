# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Env files: one text that a POSIX shell (``. file``) and systemd (``EnvironmentFile=``) read alike, byte for byte."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import write_atomically

__all__ = ["deliver", "masked", "parse", "render"]

MODE = 0o600
_HEADER = "# Written by baton.release.secret_fetch. The next release replaces it.\n"
_LARGEST_READ = 1024 * 1024

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SPECIAL = re.compile(r'(["\\`$])')
_ESCAPED = r"\\\1"
# Because of one noncharacter systemd refuses the whole file. Surrogates stand for bytes that were not UTF-8.
_NONCHARACTERS = "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
_UNFIT = re.compile(f"[\0\ud800-\udfff\ufdd0-\ufdef{_NONCHARACTERS}]")
_IGNORED_LINE = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
# Only what the shell and systemd understand alike: elsewhere their rules for backslashes, blanks and comments differ.
_ASSIGNMENT = re.compile(
    r"[ \t]*(?P<name>[A-Za-z_][A-Za-z0-9_]*)="
    r'(?:"(?P<double>(?:[^"\\`$]|\\["\\`$])*)"'
    r"|'(?P<single>[^'\\]*)'"
    r"|(?P<plain>[A-Za-z0-9_.,:/@%+=?^-]*))"
    r"[ \t]*(?:\n|\Z)"
)


def render(values: typing.Mapping[str, str]) -> str:
    """Return the text of the env file that holds ``values``, sorted by name.

    Raises:
        BatonError: a name or a value that no environment can hold. The message names it and never shows a value.
    """
    names = sorted(name for name in values if not _NAME.fullmatch(name))
    if names:
        raise BatonError(
            found=f"names {', '.join(map(ascii, names))}",
            expected="names of environment variables: letters, digits and underscores, not starting with a digit",
            fix="rename them in secrets; nothing was written",
        )
    unfit = sorted(name for name, value in values.items() if not isinstance(value, str) or _UNFIT.search(value))
    if unfit:
        raise BatonError(
            found=f"no text, a NUL, bytes that are not UTF-8 or Unicode noncharacters in {', '.join(unfit)}",
            expected="values that an environment variable can hold and systemd accepts",
            fix="correct them in the store, or store them in Base64; nothing was written",
        )
    return _HEADER + "".join(f'{name}="{_SPECIAL.sub(_ESCAPED, values[name])}"\n' for name in sorted(values))


def parse(text: str, *, source: str = "env file") -> dict[str, str]:
    """Return the values in ``text``: what ``render`` gives, and plain assignments that a person has written.

    Args:
        text: the env file.
        source: what to call it in an error.

    Raises:
        BatonError: a line that is no assignment, or that a shell and systemd may read differently; a name given twice.
            The message has the number of the line and never shows its content.
    """
    values: dict[str, str] = {}
    position = 0
    while position < len(text):
        ignored = _IGNORED_LINE.match(text, position)
        if ignored:
            position = ignored.end()
            continue
        found = _ASSIGNMENT.match(text, position)
        if not found or found["name"] in values:
            line = text.count("\n", 0, position) + 1
            raise BatonError(
                found=f"{source}: line {line} "
                + ("sets a name for the second time" if found else "is no plain assignment"),
                expected='each name once, as NAME="value" with a backslash before each ", \\, ` and $, and only there',
                fix="write that line so",
            )
        values[found["name"]] = _value(found)
        position = found.end()
    return values


def masked(text: str, secrets: str) -> str:
    """Return ``text`` without any value of the env file whose text is ``secrets``.

    Raises:
        BatonError: ``secrets`` is no env file.
    """
    for secret in sorted(parse(secrets).values(), key=len, reverse=True):
        text = text.replace(secret, "********") if secret else text
    return text


def _value(found: re.Match[str]) -> str:
    if found["double"] is not None:
        return re.sub(r"\\(.)", r"\1", found["double"])
    return found["plain"] if found["single"] is None else found["single"]


def deliver(values: typing.Mapping[str, str], dest: str, *, check_mode: bool) -> dict[str, typing.Any]:
    """Let the file ``dest`` hold exactly ``values``, for its owner only; when it does not, replace it in one step.

    Returns:
        The module's result: changed, dest, names, and a diff of the names.

    Raises:
        BatonError: the values do not fit an env file, or ``dest`` cannot be such a file.
    """
    text = render(values)
    path = Path(dest)
    if not path.is_absolute():
        raise _unfit_dest(dest, "a path that is not absolute")
    try:
        before, mode = _existing(path)
        changed = before != text or mode != MODE
        if changed and not check_mode:
            with contextlib.suppress(FileExistsError):
                path.parent.mkdir(mode=0o700, parents=True)
            write_atomically(path, text, mode=MODE)
    except OSError as error:
        raise _unfit_dest(dest, str(error.strerror)) from None
    return {"changed": changed, "dest": dest, "names": sorted(values), "diff": _diff(before, values)}


def _existing(path: Path) -> tuple[str | None, int]:
    """Return the text of the file and its permissions; None when there is none, or none that we could have written."""
    try:
        information = path.lstat()
    except FileNotFoundError:
        return None, 0
    if stat.S_ISLNK(information.st_mode):
        raise _unfit_dest(str(path), "a symbolic link")
    if not stat.S_ISREG(information.st_mode):
        raise _unfit_dest(str(path), "a directory" if stat.S_ISDIR(information.st_mode) else "a special file")
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
        content = stream.read(_LARGEST_READ)
    mode = stat.S_IMODE(information.st_mode)
    try:
        return content.decode(), mode
    except UnicodeDecodeError:
        return None, mode


def _unfit_dest(dest: str, found: str) -> BatonError:
    return BatonError(
        found=f"{found} at {dest}",
        expected="a regular file, or nothing yet, at an absolute path that can be written",
        fix="correct dest, or move away what is there; nothing was written",
    )


def _diff(before: str | None, values: typing.Mapping[str, str]) -> dict[str, str]:
    """Return which names come, go or get another value. The values themselves never take part in a diff."""
    try:
        old = parse(before or "")
    except BatonError:
        old = {}
    signs = dict.fromkeys(old.keys() - values.keys(), "-")
    signs.update(dict.fromkeys(values.keys() - old.keys(), "+"))
    signs.update({name: "~" for name in values.keys() & old.keys() if values[name] != old[name]})
    return {"prepared": "".join(f"{sign} {name}\n" for name, sign in sorted(signs.items()))}
