# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A file as a secret store: a JSON object or an env file, which nobody else may read."""

from __future__ import annotations

import json
import os
import stat
import typing

from ansible_collections.baton.release.plugins.module_utils import envfile
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["read_file"]

_LARGEST = 1024 * 1024


def read_file(keys: typing.Iterable[str], *, path: str | None) -> dict[str, str]:
    """Return those of ``keys`` that the file ``path`` holds, with their values.

    Raises:
        BatonError: the file is not safe, not there, or not what it seems to be. No message shows its content.
    """
    if not path:
        raise _unfit("no path", expected="the path of the file", fix="set path")
    text = _read(path)
    is_json = path.endswith(".json") or text.lstrip().startswith("{")
    found = _parse_json(text, path) if is_json else envfile.parse(text, source=path)
    values = {key: found[key] for key in keys if key in found}
    no_text = sorted(key for key, value in values.items() if not isinstance(value, str))
    if no_text:
        raise _unfit(
            f"{path} with something else than a text for {', '.join(no_text)}",
            expected='a text for each key, for example "8080" instead of 8080',
            fix="put the values into double quotes",
        )
    return values


def _read(path: str) -> str:
    try:
        # Judged by its descriptor, so that no other file can take its place in between; O_NONBLOCK is for a FIFO.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
            _refuse_unsafe(path, os.fstat(stream.fileno()))
            content = stream.read(_LARGEST + 1)
            if len(content) > _LARGEST:
                raise _unfit(
                    f"{path} with more than {_LARGEST} bytes", expected="a file of secrets", fix="correct path"
                )
            return content.decode()
    except OSError as error:
        raise _unfit(f"{path}: {error.strerror}", expected="a file that can be read", fix="correct path") from None
    except UnicodeDecodeError:
        raise _unfit(f"{path} with bytes that are not UTF-8", expected="UTF-8", fix="convert the file") from None


def _refuse_unsafe(path: str, information: os.stat_result) -> None:
    if not stat.S_ISREG(information.st_mode):
        raise _unfit(f"{path}, which is no regular file", expected="a regular file", fix="correct path")
    if information.st_uid not in (os.geteuid(), 0):
        raise _unfit(
            f"{path} that belongs to user {information.st_uid}",
            expected=f"a file of user {os.geteuid()}, who reads it, or of root",
            fix=f"chown {os.geteuid()} {path}; chmod 600 {path}",
        )
    if information.st_mode & 0o077:
        raise _unfit(
            f"{path} with mode {stat.S_IMODE(information.st_mode):04o}",
            expected="a file of secrets that only its owner can read",
            fix=f"chmod 600 {path}, and replace the secrets if others may have read them",
        )


def _parse_json(text: str, path: str) -> dict[str, typing.Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _unfit(f"{path} that holds no JSON object", expected='{"KEY": "value"}', fix="write it so")
    return value


def _unfit(found: str, *, expected: str, fix: str) -> BatonError:
    return BatonError(found=found, expected=expected, fix=fix)
