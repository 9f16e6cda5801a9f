# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The files of a HAProxy beside what the role ``haproxy`` would write: what is to be added where, and what taken away.

Sections of the app go to the end, below defaults of their own, so that nothing of the user's changes. More lines than the role's may
stand in them, but none that would overrule one.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass

from ansible_collections.baton.release.plugins.module_utils.adopt import ADVICE, MISSING, OK, Edit, Finding, Wanted
from ansible_collections.baton.release.plugins.module_utils.adopt_listeners import overlap, port_of
from ansible_collections.baton.release.plugins.module_utils.haproxy_config import Line, Section, Words

__all__ = ["Files"]

_ADDITIVE = ("acl", "http-request", "http-response", "log")
"""Lines of which a further one takes nothing from the others."""
_NONE_OF_OTHERS = ("bind", "server", "use_backend")
"""Lines of which each further one changes what the role's lines do."""
_HEAD = "# baton.release, for {app}. Keep this at the end: these defaults hold for all that is below them."


@dataclass(frozen=True)
class Files:
    """The sections that are there, and those that the role would write; ``texts`` are the files by their paths, in their order."""

    wanted: Wanted
    texts: typing.Mapping[str, str]
    there: typing.Sequence[Section]
    needed: typing.Sequence[Section]

    @property
    def own(self) -> dict[str, Section]:
        """The sections of the app, by their titles."""
        return {one.title: one for one in self.needed if one.keyword not in ("global", "defaults")}

    def addresses(self) -> Finding:
        """Say whether another section listens where the app's frontends are to."""
        others = [one for one in self.there if one.keyword in ("frontend", "listen") and one.title not in self.own]
        taken = [
            f"{address} ({entry}) by {section.title} ({section.path}, line {section.first})"
            for entry, address in self.wanted.listen.items()
            for section in others
            for values in section.values("bind")
            if values and any(overlap(address, bound) for bound in values[0].split(","))
        ]
        if not taken:
            return Finding("addresses", OK, f"no other section listens at {', '.join(self.wanted.listen.values())}")
        return Finding(
            "addresses",
            MISSING,
            f"{'; '.join(taken)}: HAProxy would give each of the two a part of the connections",
            "an address of this machine for each, which nothing else has",
            "in the inventory give haproxy_listen another one, such as 127.0.0.1:8080 (traffic_url stays what users ask), or"
            " traffic_preview, and run this again for the lines",
        )

    def configuration(self) -> Finding:
        """Compare the app's sections; what is wrong is taken away, and put at the end anew."""
        wrong = {title: self._wrong(section) for title, section in self.own.items()}
        wrong = {title: what for title, what in wrong.items() if what}
        if not wrong:
            return Finding(
                "configuration", OK, f"all sections of {self.wanted.app_name} are in {', '.join(self.texts)}"
            )
        edits = [
            Edit(
                one.path,
                one.first,
                one.last + 1 - one.first,
                (),
                f"take lines {one.first} to {one.last} away ({one.title})",
            )
            for one in self.there
            if any(_same(one, self.own[title]) for title in wrong)
        ]
        path, text = list(self.texts.items())[-1]
        edits.append(Edit(path, len(text.splitlines()) + 1, 0, self._block(wrong), "at its end"))
        return Finding(
            "configuration",
            MISSING,
            "; ".join(f"{title}: {what}" for title, what in wrong.items()),
            "the sections that the role haproxy writes; more lines of yours may stand in them",
            f"change the files as below, check them (haproxy -c -f {path}), and reload HAProxy",
            tuple(edits),
        )

    def programs(self) -> Finding:
        """Look for what has requests wait."""
        lines = [line for one in self.needed if one.keyword == "global" for line in one.lines if "lua" in line.words[0]]
        there = {line.words for one in self.there if one.keyword == "global" for line in one.lines}
        lacking = tuple(line.text for line in lines if line.words not in there)
        if not lacking:
            return Finding("global", OK, "the section global has what is needed")
        return Finding(
            "global",
            MISSING,
            "the section global does not load how requests wait",
            "the line below; without Lua (haproxy -vv) set haproxy_hold: false instead",
            "add it, check the files, and reload HAProxy",
            (self._in_global(lacking),),
        )

    def socket(self, line: str) -> Edit | None:
        """Return how the stats socket of ``line`` comes into the files; None if it is one that the files say nothing of."""
        path = line.split()[2]
        for one in self.there:
            for have in one.lines if one.keyword == "global" else ():
                if have.words[:2] == ("stats", "socket") and have.words[2:3] in ((path,), (f"unix@{path}",)):
                    return Edit(one.path, have.number, 1, (line,), f"in place of line {have.number} (section global)")
        role_has = any(values[:1] == (path,) for one in self.needed for values in one.values("stats", "socket"))
        return self._in_global((line,)) if role_has else None

    def entry(self, finding: Finding) -> Finding:
        """Add to a finding that users' requests do not come through the app's frontend how they would."""
        target = self._handover
        fix = f"where requests for {self.wanted.app_name} are sent to a backend now, send them to {target} instead (use_backend, with your"
        fix += " own condition, or default_backend); this goes last, when all else is there"
        fronts = self._fronts()
        edits = []
        led = any(target in line.words for front in fronts for line in front.lines)
        if len(fronts) == 1 and not led:
            (front,) = fronts
            before = next((line for line in front.lines if line.words[0] == "default_backend"), None)
            # The last line is in the lines again, so that no two edits are for one place.
            lines = (
                (f"    default_backend {target}",) if before else (front.lines[-1].text, f"    use_backend {target}")
            )
            at = before.number if before else front.last
            edits.append(Edit(front.path, at, 1, lines, f"in place of line {at} (section {front.title})"))
        return Finding(finding.name, finding.state, finding.found, finding.expected, fix, tuple(edits))

    def reloads(self) -> Finding | None:
        """Advise the user's own frontends to keep idle connections over a reload."""
        lacking = [
            f"{one.title} ({one.path}, line {one.first})"
            for one in self._fronts()
            if ("option", "idle-close-on-response") not in {line.words for line in (*one.inherited, *one.lines)}
        ]
        if not lacking:
            return None
        return Finding(
            "reloads",
            ADVICE,
            f"{', '.join(lacking)} resets idle connections at a reload, which can cost a request that is just coming",
            "option idle-close-on-response",
            "add that line there, or to its defaults, before the reload; a switch needs no reload",
        )

    @property
    def _handover(self) -> str:
        return f"{self.wanted.app_name}_handover"

    def _fronts(self) -> list[Section]:
        """Return the user's own sections that listen at the port of the URL of users."""
        port = port_of(self.wanted.url)
        return [
            one
            for one in self.there
            if one.keyword in ("frontend", "listen") and one.title not in self.own
            if any(
                bound.endswith(f":{port}") for values in one.values("bind") for bound in "".join(values[:1]).split(",")
            )
        ]

    def _wrong(self, needed: Section) -> str:
        """Say what is wrong with the section that is to be like ``needed``; nothing for one that is right."""
        found = [one for one in self.there if _same(one, needed)]
        if any(one.keyword != needed.keyword for one in found):
            return "another section has its name"
        if len(found) != 1:
            return f"is there {len(found)} times" if found else "is missing"
        (there,) = found
        wanted = [line.words for line in needed.lines]
        have = [line.words for line in there.lines]
        effective = {line.words for line in (*there.inherited, *there.lines)}
        lacking = [line.text.strip() for line in (*needed.inherited, *needed.lines) if line.words not in effective]
        surplus = [
            line.text.strip() for line in there.lines if line.words not in wanted and self._overrules(line, needed)
        ]
        if lacking or surplus:
            parts = [f"lacks {', '.join(map(repr, map(_short, lacking)))}"] if lacking else []
            return " and ".join([*parts, *([f"has {', '.join(map(repr, map(_short, surplus)))}"] if surplus else [])])
        ordered = [words for words in have if words in wanted]
        return "" if ordered == wanted else "has its lines in another order"

    def _overrules(self, line: Line, needed: Section) -> bool:
        if line.words in {one.words for one in needed.inherited}:
            return False
        keys = {_key(one.words) for one in (*needed.inherited, *needed.lines)}
        return line.words[0] in _NONE_OF_OTHERS or (_key(line.words) in keys and line.words[0] not in _ADDITIVE)

    def _block(self, titles: typing.Container[str]) -> tuple[str, ...]:
        """Return these sections below the role's defaults."""
        lines = ["", _HEAD.format(app=self.wanted.app_name)]
        text = self.wanted.configuration.splitlines()
        for one in self.needed:
            if one.keyword == "defaults" or one.title in titles:
                lines += [*text[one.first - 1 : one.last], *self._until_then(one), ""]
        return tuple(lines)

    def _until_then(self, section: Section) -> list[str]:
        """Return the line that has requests served as they are now until a slot is live, for the frontend of users."""
        if section.title != f"frontend {self.wanted.app_name}":
            return []
        before = [
            values[0] for one in self.there if one.title == section.title for values in one.values("default_backend")
        ]
        for front in self._fronts() if len(self._fronts()) == 1 else ():
            before += [values[0] for values in front.values("default_backend")]
            before += [front.name] if front.keyword == "listen" else []
        before = [one for one in before if one != self._handover]
        return ["    # Until the first release: what serves now.", f"    default_backend {before[0]}"] if before else []

    def _in_global(self, lines: tuple[str, ...]) -> Edit:
        for one in self.there:
            if one.keyword == "global":
                return Edit(one.path, one.first + 1, 0, lines, f"after line {one.first} (section global)")
        path = next(iter(self.texts))
        return Edit(path, 1, 0, ("global", *lines, ""), "at its beginning")


def _same(one: Section, needed: Section) -> bool:
    """Say whether a section has the place of a needed one; a listen is frontend and backend of its name at once."""
    kinds = (needed.keyword, "listen") if needed.keyword in ("frontend", "backend") else (needed.keyword,)
    return one.keyword in kinds and one.name == needed.name


def _key(words: Words) -> Words:
    """Return what a line sets; of two lines with the same key the later one counts."""
    return words[:2] if words[0] in ("no", "option", "timeout", "http-check") else words[:1]


def _short(text: str) -> str:
    return text if len(text) < 80 else f"{text[:77]}..."  # noqa: PLR2004 - a part of one line
