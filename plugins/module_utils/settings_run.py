# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""How a run was started: ways to start it that would leave out a gate, and command lines that are templates."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field

from ansible_collections.baton.release.plugins.module_utils.settings_types import Complaint

__all__ = ["Started", "complaints_of_run", "has_template"]

_WHOLE = "the whole procedure, because each of its steps is a gate for the next one"
_VERSIONS = {"release": "release_version", "rollback": "rollback_version", "migrate": "migrate_version"}


@dataclass(frozen=True)
class Started:
    """How the run was started: the action, its tags, whether it begins or may stop in the middle, and the hosts it leaves out."""

    action: str = "release"
    tags: typing.Sequence[str] = ("all",)
    skip_tags: typing.Sequence[str] = ()
    start_at: str = ""
    step: bool = False
    left_out: typing.Sequence[str] = ()
    extra: typing.Mapping[str, object] = field(default_factory=dict)


def complaints_of_run(
    started: Started, *, settings: typing.Collection[str], own: typing.Collection[str]
) -> list[Complaint]:
    """Return why a run that was started so must not go on.

    Args:
        started: how it was started.
        settings: names of all settings.
        own: beginnings of the names that belong to the procedure itself.
    """
    return [*_parts(started), *_extra(started, settings, own)]


def _parts(started: Started) -> typing.Iterator[Complaint]:
    for option, found in (
        ("--tags", ",".join(started.tags) if list(started.tags) != ["all"] else ""),
        ("--skip-tags", ",".join(started.skip_tags)),
        ("--start-at-task", started.start_at),
        ("--step", "a question before each task" if started.step else ""),
    ):
        if found:
            yield Complaint(option, found[:80], _WHOLE, f"run without {option}; --check shows what would happen")
    if started.left_out:
        expected = "all hosts of the groups app and lb, because traffic moves for all of them at once"
        yield Complaint("--limit", f"a run without {', '.join(started.left_out)}", expected, "run without --limit")


def _extra(
    started: Started, settings: typing.Collection[str], own: typing.Collection[str]
) -> typing.Iterator[Complaint]:
    right = _VERSIONS.get(started.action, "")
    for wrong in sorted(set(_VERSIONS.values()) - {right}):
        if wrong in started.extra:
            yield Complaint(
                wrong, f"given to a {started.action}", f"{right}, if a version is named at all", f"give {right}"
            )
    for name in sorted(started.extra):
        if name in settings and has_template(started.extra[name]):
            expected = "the value itself, because whoever gives it may not be the one who wrote the inventory"
            yield Complaint(name, "a template on the command line", expected, "write templates into the inventory")
        elif name not in settings and name.startswith(tuple(own)):
            yield Complaint(name, "a name of the procedure's own", "only settings on the command line", "leave it out")


def has_template(value: object) -> bool:
    """Say whether ``value``, or anything in it, would be evaluated as a template."""
    if isinstance(value, str):
        return any(mark in value for mark in ("{{", "{%", "{#"))
    if isinstance(value, dict):
        return any(has_template(key) or has_template(inner) for key, inner in value.items())
    return isinstance(value, (list, tuple)) and any(map(has_template, value))
