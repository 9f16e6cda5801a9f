# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a value of an inventory really is, judged against an argument spec, without changing it to fit.

Ansible's own check turns values into the type that is wanted: a version written as ``1.10`` passes as the text ``1.1``. Here a value
has to be of its type as it stands; only text that a command line gave for a number or a truth value is taken for one.
"""

from __future__ import annotations

import datetime
import math
import re
import typing
from dataclasses import dataclass

from ansible_collections.baton.release.plugins.module_utils.settings_names import nearest

__all__ = ["Complaint", "Unresolved", "complaints_of_type", "masked", "number_of", "shown", "truth_of"]

Option = typing.Mapping[str, typing.Any]

_SHOWN_CHARACTERS = 80
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?")
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_PASSWORD = re.compile(r"(?<=://)[^/@\s]*@")
_SECRETIVE = re.compile(
    r"pass(word|wd|phrase)?($|_)|pwd|secret|token|credential|api_?key|private_?key|dsn", re.IGNORECASE
)
_KINDS: tuple[tuple[typing.Any, str], ...] = (
    (bool, "a truth value"),
    (int, "a whole number"),
    (float, "a number"),
    (str, "text"),
    ((datetime.date, datetime.datetime), "a date"),
    ((list, tuple), "a list"),
    (dict, "a dictionary"),
    (type(None), "nothing (an empty YAML value)"),
)
_WANTED = {
    "str": "text",
    "path": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a dictionary",
}


@dataclass(frozen=True)
class Unresolved:
    """A value that Ansible could not work out, with the reason."""

    reason: str


@dataclass(frozen=True)
class Complaint:
    """What is wrong with one value: its ``path`` (app_slots.blue.port), what it is, and what it should be."""

    path: str
    found: str
    expected: str
    fix: str = "correct it"


def kind(value: object) -> str:
    """Return what ``value`` is, in words."""
    return next((words for types, words in _KINDS if isinstance(value, types)), type(value).__name__)


def shown(path: str, value: object, *, hidden: bool = False) -> str:
    """Return ``value`` for a message: on one line, short, and without anything that may be a secret."""
    if isinstance(value, Unresolved):
        return "a template that cannot be resolved" + ("" if hidden or secretive(path) else f" ({value.reason})")
    if value is None or hidden or secretive(path) or isinstance(value, (dict, list, tuple)):
        return kind(value)
    # Tagged by Ansible, a value may show itself otherwise; cut first, a huge one is quick to show.
    text = value[: 4 * _SHOWN_CHARACTERS] if isinstance(value, str) else value
    text = masked(_plain_repr(text))
    return f"{text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + '...'} ({kind(value)})"


def masked(text: str) -> str:
    """Return ``text`` without the user and password of any URL in it."""
    return _PASSWORD.sub("***@", text)


def secretive(path: str) -> bool:
    """Say whether the name of a setting says that its value is nobody's business."""
    return any(_SECRETIVE.search(part) for part in path.split("."))


def number_of(value: object) -> float | None:
    """Return the number that ``value`` is, or is the text of; None for anything else, and for what is not finite."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return float(value) if _DECIMAL.fullmatch(value) else None
    try:
        number = float(value) if isinstance(value, (int, float)) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def truth_of(value: object) -> bool | None:
    """Return the truth value that ``value`` is, or is the text of; None for anything else."""
    if isinstance(value, bool):
        return value
    return _TRUTH.get(value.lower()) if isinstance(value, str) else None


def complaints_of_type(path: str, value: object, option: Option, *, hidden: bool = False) -> list[Complaint]:
    """Return what is wrong with ``value`` as the ``option`` of an argument spec describes it, with all that is in it."""
    wanted = str(option.get("type", "str"))
    if isinstance(value, Unresolved):
        return [
            Complaint(path, shown(path, value, hidden=hidden), _expected(wanted, option), "define what it refers to")
        ]
    if wanted != "raw" and not _is(wanted, value):
        return [_misfit(path, value, wanted, option, hidden=hidden)]
    if option.get("choices"):
        return _complaints_of_choice(path, value, option, hidden=hidden)
    if wanted == "dict" and isinstance(value, dict):
        return _complaints_of_keys(path, value, option, hidden=hidden)
    if wanted == "list" and isinstance(value, (list, tuple)):
        element = {"type": option.get("elements", "raw"), "options": option.get("options")}
        return [
            one
            for index, item in enumerate(value)
            for one in complaints_of_type(f"{path}[{index}]", item, element, hidden=hidden)
        ]
    return []


def _is(wanted: str, value: object) -> bool:
    if wanted == "int":
        if isinstance(value, str):
            return bool(_WHOLE.fullmatch(value))
        return isinstance(value, int) and not isinstance(value, bool)
    if wanted == "float":
        return number_of(value) is not None
    if wanted == "bool":
        return truth_of(value) is not None
    if wanted == "list":
        return isinstance(value, (list, tuple))
    return isinstance(value, dict if wanted == "dict" else str)


def _expected(wanted: str, option: Option) -> str:
    if option.get("choices"):
        return f"one of {', '.join(map(str, option['choices']))}"
    return _WANTED.get(wanted, wanted)


def _misfit(path: str, value: object, wanted: str, option: Option, *, hidden: bool) -> Complaint:
    found, expected = shown(path, value, hidden=hidden), _expected(wanted, option)
    if value is None:
        return Complaint(path, found, expected, "give it a value, or remove the line")
    if wanted in ("str", "path") and isinstance(value, (bool, int, float, datetime.date)):
        fix = "write it in quotes: without them YAML reads 1.10 as 1.1, 010 as 8, no as false and 12:30:45 as 45045"
        return Complaint(path, found, expected, fix)
    if wanted in ("list", "dict") and isinstance(value, str):
        return Complaint(path, found, expected, f"on a command line give it as JSON: -e '{{\"{path}\": ...}}'")
    if wanted == "float" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return Complaint(path, found, "a finite number")
    return Complaint(path, found, expected)


def _complaints_of_choice(path: str, value: object, option: Option, *, hidden: bool) -> list[Complaint]:
    choices = [str(one) for one in option["choices"]]
    if value in choices:
        return []
    near = nearest(str(value), choices)
    fix = f"did you mean {near}?" if near else "choose one of these"
    return [Complaint(path, shown(path, value, hidden=hidden), f"one of {', '.join(choices)}", fix)]


def _complaints_of_keys(
    path: str, value: typing.Mapping[typing.Any, object], option: Option, *, hidden: bool
) -> list[Complaint]:
    found = []
    for key in value:
        if not isinstance(key, str):
            quote = "write the key in quotes: without them YAML reads no and on as truth values, and 010 as 8"
            found.append(Complaint(path, f"the key {_plain_repr(key)} ({kind(key)})", "keys that are text", quote))
    if option.get("values"):
        for key in (one for one in value if isinstance(one, str)):
            found += complaints_of_type(f"{path}.{key}", value[key], option["values"], hidden=hidden)
    options: typing.Mapping[str, Option] = option.get("options") or {}
    if not options:
        return found
    for key in (one for one in value if isinstance(one, str) and one not in options):
        near = nearest(key, [one for one in options if one not in value])
        fix = f"did you mean {near}?" if near else "remove it"
        found.append(Complaint(path, f"the unknown key {_cut(key)}", f"only {', '.join(options)}", fix))
    for key, inner in options.items():
        if key in value:
            found += complaints_of_type(f"{path}.{key}", value[key], inner, hidden=hidden)
        elif inner.get("required"):
            found.append(
                Complaint(f"{path}.{key}", "nothing", _expected(str(inner.get("type", "str")), inner), "add it")
            )
    return found


def _cut(text: str) -> str:
    return repr(str(text)[:_SHOWN_CHARACTERS])


def _plain_repr(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 1000:  # noqa: PLR2004 - Python refuses to write out huge numbers
        return "a huge number"
    return repr(str(value)) if isinstance(value, str) else str(value)
