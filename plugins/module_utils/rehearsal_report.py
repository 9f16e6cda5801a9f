# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a rehearsal found, as lines for people."""

from __future__ import annotations

import typing

from ansible_collections.baton.release.plugins.module_utils.rehearsal_findings import UNSEEN
from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck import listed

__all__ = ["report"]

_UNITS = ("bytes", "kB", "MB", "GB", "TB")
_STEP = 1024
_FEW = 5


def report(found: typing.Mapping[str, typing.Any]) -> list[str]:
    """Return a line for each thing that matters: the changes, what statements do to tables in use, and the ways down and up again."""
    lines = [_change(one) for one in found["changes"]]
    lines += [_statement(one, found["tables"]) for one in found["statements"]]
    lines += [_rows(one) for one in found["prechecks"]]
    lines += _server(found) + _app(found["app_statements"])
    there, back = ("up", "down") if found.get("way", "up") == "up" else ("down", "up")
    lines += _back(found["down"], back)
    lines += list(dict.fromkeys(_data(one, back, found["tables"]) for one in found["down"]["changes_data"]))
    return [*lines, *_again(found["again"], there)]


def _server(found: typing.Mapping[str, typing.Any]) -> list[str]:
    server, target = found.get("server"), found.get("target")
    if server == target:
        return []
    return [f"rehearsed with PostgreSQL {server}, the database is of version {target}: where these differ is not seen"]


def _app(asked: typing.Mapping[str, typing.Any]) -> list[str]:
    if not any(asked[name] for name in ("tried", "untried", "hidden")):
        return []
    also = f", {asked['untried']} could not be tried" if asked["untried"] else ""
    also += f", {asked['hidden']} may not be read by the user that migrates" if asked["hidden"] else ""
    return [f"statements of the running app: {asked['broken']} of {asked['tried']} work no longer{also}"]


def _change(one: typing.Mapping[str, typing.Any]) -> str:
    return f"{one['level']}: {one['kind']} {one['name']} {one['what']} ({', '.join(one['revisions'])})"


def _statement(one: typing.Mapping[str, typing.Any], tables: typing.Mapping[str, typing.Mapping[str, int]]) -> str:
    told = [f"locks {name} ({mode})" for name, mode in one["takes"].items()]
    told += [f"reads the whole of {_sized(name, tables)}" for name in one["scans"]]
    told += [f"writes {_sized(name, tables)} anew" for name in one["rewrites"]]
    told += [f"changes data of {_sized(name, tables)}" for name in one["changes_data"]]
    held = [f"{name} ({mode})" for name, mode in one["holds"].items() if name not in one["takes"]]
    meanwhile = f", while it holds {', '.join(held)}" if held else ""
    concurrently = " CONCURRENTLY" if one["concurrently"] else ""
    revision = f" ({one['revision']})" if one["revision"] else ""
    return f"{one['tag']}{concurrently} {one['on']}: {', '.join(told)}{meanwhile}{revision}"


def _rows(one: typing.Mapping[str, typing.Any]) -> str:
    return f"rows: {one['kind']} {one['name']} {one['what']}: {listed(one)} ({', '.join(one['revisions'])})"


def _sized(name: str, tables: typing.Mapping[str, typing.Mapping[str, int]]) -> str:
    if name not in tables:
        return name
    return f"{name}, {_bytes(tables[name]['bytes'])} in about {tables[name]['rows']} rows"


def _bytes(size: float) -> str:
    unit = 0
    while size >= _STEP and unit < len(_UNITS) - 1:
        size, unit = size / _STEP, unit + 1
    return f"{size:.3g} {_UNITS[unit]}"


def _back(down: typing.Mapping[str, typing.Any], back: str) -> list[str]:
    if not down["reached"]:
        return [f"the way {back} was not gone: {down['why']}"]
    lines = [
        f"the way {back} restores the schema"
        if down["restores"]
        else f"the way {back} leaves another schema: {_some(down['differences'])}"
    ]
    if down["loses"]:
        lines.append(f"the way {back} loses what is in {', '.join(down['loses'])}")
    return lines


def _data(
    one: typing.Mapping[str, typing.Any], back: str, tables: typing.Mapping[str, typing.Mapping[str, int]]
) -> str:
    named = ", ".join(_sized(name, tables) for name in one["tables"])
    tag = "nobody knows how, with its triggers disabled" if one["tag"] == UNSEEN else one["tag"]
    how = ", ".join(told for told in (tag, one["revision"]) if told)
    if back == "down":
        return f"the way down changes data of {named} ({how})"
    return f"the way up changed data of {named} ({how}), and the way down may not bring back what was there"


def _again(again: typing.Mapping[str, typing.Any], there: str) -> list[str]:
    if not again["reached"]:
        return [f"the second way {there} was not gone: {again['why']}"]
    return (
        [f"the second way {there} leads to the same schema"]
        if again["equal"]
        else [f"the second way {there} leads to another schema: {_some(again['differences'])}"]
    )


def _some(differences: typing.Sequence[str]) -> str:
    more = f", and {len(differences) - _FEW} more" if len(differences) > _FEW else ""
    return "; ".join(differences[:_FEW]) + more
