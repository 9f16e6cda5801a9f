# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""All settings of a release, judged at once before anything is touched, with every problem that there is."""

from __future__ import annotations

import hashlib
import re
import typing
from dataclasses import dataclass, field

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.rules import Rule
from ansible_collections.baton.release.plugins.module_utils.settings_between import complaints_between
from ansible_collections.baton.release.plugins.module_utils.settings_names import misspelled
from ansible_collections.baton.release.plugins.module_utils.settings_rules import (
    APP_HOSTS_ONLY,
    HIDDEN,
    KEYS,
    RULES,
    SAME_EVERYWHERE,
    TYPELESS,
    VALUES,
)
from ansible_collections.baton.release.plugins.module_utils.settings_types import (
    Complaint,
    Unresolved,
    complaints_of_type,
    shown,
)

__all__ = ["Inventory", "Problem", "problems_in", "refuse"]

Specs = typing.Mapping[str, typing.Mapping[str, typing.Any]]
Judgement = list[tuple[Complaint, str]]
Judged = dict[tuple[str, int], Judgement]
_SHOWN_HOSTS = 5
_SHOWN_CHARACTERS = 200
_MISREAD = re.compile(r"[+-]?(0[0-9_]+|0[xXbB][0-9a-fA-F_]+|[0-9_]+(:[0-9]+)+(\.[0-9]*)?)")


@dataclass(frozen=True)
class Problem:
    """A complaint, the hosts that it holds for, and where the value was written (``file:line``), as far as that is known."""

    complaint: Complaint
    hosts: tuple[str, ...]
    where: str = ""

    def line(self, everyone: typing.Collection[str]) -> str:
        """Return the problem as one line of a message."""
        one = self.complaint
        more = f" and {len(self.hosts) - _SHOWN_HOSTS} more" if len(self.hosts) > _SHOWN_HOSTS else ""
        named = f" on {', '.join(host[:_SHOWN_CHARACTERS] for host in self.hosts[:_SHOWN_HOSTS])}{more}"
        on = "" if set(self.hosts) in (set(), set(everyone)) else named
        at = f" ({self.where})" if self.where else ""
        line = f"{one.path[:_SHOWN_CHARACTERS]}{on}: found {one.found}, expected {one.expected}; to do: {one.fix}{at}"
        # Keys and host names are not of our making: none may end the line or move a terminal's cursor.
        return "".join(character if character.isprintable() else "?" for character in line)


@dataclass(frozen=True)
class Inventory:
    """What is judged.

    ``settings`` holds for each host of the groups ``app`` and ``lb`` its settings as this host sees them; what cannot be resolved is
    Unresolved. ``where`` says for a host and the path of a setting where it was written, and ``written`` as what, both "" if unknown.
    """

    groups: typing.Mapping[str, typing.Sequence[str]]
    settings: typing.Mapping[str, typing.Mapping[str, typing.Any]]
    names: typing.Mapping[str, typing.Collection[str]] = field(default_factory=dict)
    where: typing.Callable[[object], str] = lambda _value: ""
    written: typing.Callable[[object], str] = lambda _value: ""


def problems_in(inventory: Inventory, specs: Specs, *, others: typing.Collection[str] = ()) -> list[Problem]:
    """Return every problem of the settings.

    Args:
        inventory: what is judged.
        specs: for each setting its option of an argument spec.
        others: names that are known as well but not judged here: settings of other playbooks.
    """
    found: dict[tuple[Complaint, str], list[str]] = {}
    # Most hosts have most values from the same line of the same file: that is judged once.
    judged: Judged = {}
    for host in inventory.settings:
        for complaint, where in _complaints(inventory, host, specs, judged):
            found.setdefault((complaint, where), []).append(host)
    problems = [Problem(complaint, tuple(hosts), where) for (complaint, where), hosts in found.items()]
    complained = {(host, re.split(r"[.\[]", one.complaint.path)[0]) for one in problems for host in one.hosts}
    problems += _misspelled(inventory, {*specs, *others})
    sound = {
        host: {
            name: value
            for name, value in values.items()
            if (host, name) not in complained and not isinstance(value, Unresolved)
        }
        for host, values in inventory.settings.items()
    }
    problems += _disagreements(sound)
    problems += [Problem(one, hosts) for one, hosts in complaints_between(inventory.groups, sound)]
    return problems


def refuse(problems: typing.Sequence[Problem], everyone: typing.Collection[str]) -> None:
    """Refuse to go on with problems.

    Raises:
        BatonError: there are problems. Each has a line of its own in the message; the detail ``problems`` names the settings.
    """
    if not problems:
        return
    count = "1 setting" if len(problems) == 1 else f"{len(problems)} settings"
    lines = [one.line(everyone) for one in problems]
    raise BatonError(
        found=f"{count} of this run that cannot be used",
        expected="that every setting is sound before anything is touched",
        fix="correct these, and run again; nothing was touched\n" + "\n".join(f"- {line}" for line in lines),
        problems=sorted({one.complaint.path for one in problems}),
    )


def _complaints(inventory: Inventory, host: str, specs: Specs, judged: Judged) -> Judgement:
    values, found = inventory.settings[host], []
    for name, option in specs.items():
        if name in APP_HOSTS_ONLY and host not in inventory.groups.get("app", ()):
            continue
        if name in values:
            key = (name, id(values[name]))
            if key not in judged:
                judged[key] = _judgement(inventory, values, name, option)
            found += judged[key]
        elif option.get("required"):
            found.append((Complaint(name, "nothing", "a value", "set it in the inventory"), ""))
    return found


def _judgement(
    inventory: Inventory, values: typing.Mapping[str, typing.Any], name: str, option: typing.Mapping[str, typing.Any]
) -> Judgement:
    value = values[name]
    hidden = name.startswith(HIDDEN) or bool(option.get("no_log"))
    found = []
    if name not in TYPELESS or isinstance(value, Unresolved):
        found += complaints_of_type(name, value, _strict(name, option), hidden=hidden)
    wrong = {one.path for one in found}
    found += _complaints_of_rules(name, value, wrong, hidden=hidden)
    found += _misread(inventory, name, value, wrong)
    return [(one, _place(inventory, values, one.path)) for one in found]


def _strict(name: str, option: typing.Mapping[str, typing.Any]) -> typing.Mapping[str, typing.Any]:
    """Return the option with what its values are where its keys are their owner's: text, in an environment."""
    return {**option, "values": VALUES.get(name, {"type": "str"})} if name in KEYS else option


def _complaints_of_rules(name: str, value: object, wrong: set[str], *, hidden: bool) -> list[Complaint]:
    found = []
    for path, pattern, one in _nodes(name, name, value):
        rule = RULES.get(pattern)
        if rule and path not in wrong and not rule.holds(one):
            found.append(Complaint(path, shown(path, one, hidden=hidden), rule.expected, rule.fix))
    keys = KEYS.get(name)
    if keys and isinstance(value, dict) and name not in wrong:
        found += [_bad_key(name, key, keys) for key in value if isinstance(key, str) and not keys.holds(key)]
    return found


def _bad_key(name: str, key: str, rule: Rule) -> Complaint:
    return Complaint(name, f"the key {key[:80]!r}", rule.expected, rule.fix)


def _misread(inventory: Inventory, name: str, value: object, wrong: set[str]) -> list[Complaint]:
    """Complain of numbers that YAML reads otherwise than a person does: 010 is 8, 12:30:45 is 45045."""
    found = []
    for path, _pattern, one in _nodes(name, name, value):
        if isinstance(one, bool) or not isinstance(one, (int, float)) or path in wrong:
            continue
        written = inventory.written(one)
        if _MISREAD.fullmatch(written):
            found.append(
                Complaint(
                    path,
                    f"{written}, which YAML reads as {one}",
                    "a plain decimal number",
                    f"write {one}, or what is meant",
                )
            )
    return found


def _nodes(path: str, pattern: str, value: object) -> typing.Iterator[tuple[str, str, typing.Any]]:
    """Yield ``value`` and all that is in it, each with its path and the path's pattern."""
    yield path, pattern, value
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(key, str):
                yield from _nodes(
                    f"{path}.{key}", f"{pattern}.*" if f"{pattern}.*" in _PATTERNS else f"{pattern}.{key}", inner
                )
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _nodes(f"{path}[{index}]", f"{pattern}.*", inner)


def _prefixes(pattern: str) -> list[str]:
    parts = pattern.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


_PATTERNS = frozenset(prefix for pattern in RULES for prefix in _prefixes(pattern))


def _place(inventory: Inventory, values: typing.Mapping[str, typing.Any], path: str) -> str:
    """Return where the value at ``path`` was written; where Ansible does not say, its key or what is around it."""
    place, inside = "", typing.cast(typing.Any, values)
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(inside, (list, tuple)) and part.isdecimal() and int(part) < len(inside):
            key, inside = None, inside[int(part)]
        elif isinstance(inside, dict) and part in inside:
            key, inside = next(one for one in inside if one == part), inside[part]
        else:
            break
        # The key of a setting itself may still be that of the default which the value replaced.
        place = inventory.where(inside) or (inventory.where(key) if place else "") or place
    return place


def _misspelled(inventory: Inventory, known: set[str]) -> list[Problem]:
    hosts_of: dict[str, list[str]] = {}
    for host, names in inventory.names.items():
        for name in names:
            hosts_of.setdefault(name, []).append(host)
    return [
        Problem(
            Complaint(
                name,
                "a variable that nobody reads",
                "a setting",
                f"did you mean {meant}? If it is your own, call it something else",
            ),
            tuple(hosts_of[name]),
        )
        for name, meant in misspelled(sorted(hosts_of), known).items()
    ]


def _compared(name: str, value: object) -> str:
    """Return ``value`` for a comparison and for the message: what is in a list or a dictionary, and a digest of what is hidden."""
    if name.startswith(HIDDEN):
        return f"a value with the digest {hashlib.sha256(str(value).encode(errors='replace')).hexdigest()[:8]}"
    if isinstance(value, dict):
        value = [f"{key} ({one})" for key, one in value.items()]
    return ", ".join(map(str, value)) or "nothing" if isinstance(value, (list, tuple)) else shown(name, value)


def _disagreements(settings: typing.Mapping[str, typing.Mapping[str, typing.Any]]) -> list[Problem]:
    problems = []
    for name in sorted(SAME_EVERYWHERE):
        hosts_of: dict[str, list[str]] = {}
        for host, values in settings.items():
            if name in values:
                hosts_of.setdefault(_compared(name, values[name]), []).append(host)
        if len(hosts_of) > 1:
            found = ", ".join(
                f"{value} on {', '.join(hosts[:3])}{' and more' if hosts[3:] else ''}"
                for value, hosts in hosts_of.items()
            )
            problems.append(
                Problem(Complaint(name, found, "the same on every host, because the plan is made once"), ())
            )
    return problems
