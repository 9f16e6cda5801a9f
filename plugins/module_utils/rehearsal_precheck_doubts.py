# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Whose rows the migrations themselves may change before a condition comes to hold, so that the rows of now decide nothing."""

from __future__ import annotations

import typing
from dataclasses import dataclass

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_catalog import Catalog
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_change import Compared
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_precheck_parts import Parts
    from ansible_collections.baton.release.plugins.module_utils.rehearsal_recorder import Event

__all__ = ["Doubts"]


@dataclass(frozen=True)
class Doubts:
    """What is known of the rows that migrations write: the tables, by key, and those of which they looked for rows, by name."""

    compared: Compared
    parts: Parts
    events: typing.Sequence[Event]
    read: typing.Collection[str]

    def of(self, *relations: str) -> str:
        """Return why the rows of these tables may be others by then, as a part of a sentence; nothing when they stay as they are."""
        changed = {
            one["relation"]: one["name"] for event in self.events if event.kind == "data" for one in event.objects
        }
        reached = self._reached(changed)
        for relation in relations:
            name = self.compared.before["relation"][relation]["name"]
            if relation in reached:
                return f"as the migrations also change rows of {name} and may mend them"
            if name in self.read:
                return f"as the migrations also go through the rows of {name} and may mend them"
            if self._parts(self.compared.before, relation) != self._parts(self.compared.after, relation):
                return f"as the migrations also change which tables are parts of {name}"
        if self.read and not changed:
            # On an empty table a loop over its rows changes nothing anywhere.
            return (
                f"as the migrations go through the rows of {', '.join(sorted(self.read))} and may change others by them"
            )
        if any(one["relation"] in reached for one in self._triggers()):
            return f"as the migrations change rows of {', '.join(sorted(changed.values()))}, which has triggers"
        return ""

    def _parts(self, catalog: Catalog, relation: str) -> set[str]:
        """Return the tables that were there before and whose rows are a part of a table."""
        name = catalog["relation"][relation]["name"]
        return {
            key
            for key, facts in catalog["relation"].items()
            if name in facts["parents"] and key in self.compared.before["relation"]
        }

    def of_functions(self, owner: str) -> str:
        """Return why an expression of a constraint or index may mean something else by then."""
        was, now = self.compared.before["function"], self.compared.after["function"]
        for key in self.parts.called.get(owner, ()):
            if key in now and was.get(key, {}).get("definition") != now[key]["definition"]:
                return f"as the migrations also change {now[key]['name']}"
        return ""

    def _reached(self, changed: typing.Iterable[str]) -> set[str]:
        """Return the tables whose rows go or change with those of ``changed``: by foreign keys, and as parts of each other."""
        links = [
            (facts["target"], self.compared.after["constraint"][key]["relation"])
            for key, facts in self.parts.constraints.items()
            if facts["passes_on"] and key in self.compared.after["constraint"]
        ]
        names = {facts["name"]: key for key, facts in self.compared.after["relation"].items()}
        for key, facts in self.compared.after["relation"].items():
            for parent in facts["parents"]:
                links += [(key, names.get(parent, "")), (names.get(parent, ""), key)]
        reached, more = set(changed), True
        while more:
            found = {to for origin, to in links if origin in reached} - reached
            reached |= found
            more = bool(found)
        return reached

    def _triggers(self) -> list[typing.Any]:
        return [
            one
            for catalog in (self.compared.before, self.compared.after)
            for kind in ("trigger", "rule")
            for one in catalog[kind].values()
        ]
