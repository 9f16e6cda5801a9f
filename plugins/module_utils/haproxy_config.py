# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The files of a HAProxy's configuration as sections of lines, each line as HAProxy splits it into words."""

from __future__ import annotations

import shlex
import typing
from dataclasses import dataclass

__all__ = ["Line", "Section", "parse"]

_SECTIONS = (
    *(
        "global",
        "defaults",
        "frontend",
        "backend",
        "listen",
        "ring",
        "peers",
        "mailers",
        "resolvers",
        "userlist",
        "cache",
    ),
    *("program", "http-errors", "log-forward", "log-profile", "fcgi-app", "crt-store", "traces", "acme"),
)

Words = typing.Tuple[str, ...]  # noqa: UP006 - evaluated on Python 3.9 too


class Line(typing.NamedTuple):
    """A line that says something; ``number`` begins with 1."""

    number: int
    words: Words
    text: str


@dataclass(frozen=True)
class Section:
    """A section; ``last`` is its last line that is not blank and no comment."""

    keyword: str
    name: str
    path: str
    first: int
    last: int
    header: str
    lines: tuple[Line, ...]
    defaults: Section | None
    """Whose settings hold here where it has none of its own."""

    @property
    def title(self) -> str:
        """Return its keyword and its name."""
        return f"{self.keyword} {self.name}".strip()

    @property
    def inherited(self) -> tuple[Line, ...]:
        """Return the lines of its defaults."""
        return self.defaults.lines if self.defaults else ()

    def values(self, *key: str) -> list[Words]:
        """Return what follows these words, of each line that begins with them."""
        return [line.words[len(key) :] for line in self.lines if line.words[: len(key)] == key]


def parse(texts: typing.Iterable[tuple[str, str]]) -> list[Section]:
    """Return the sections of a configuration, given as path and text of each file in their order.

    A section takes the defaults that it names, or the last ones before it, in whatever file.
    """
    sections: list[Section] = []
    for path, text in texts:
        header: Line | None = None
        lines: list[Line] = []
        for line in [*_lines(text), None]:
            if line is not None and line.words[0] not in _SECTIONS:
                lines.append(line)
                continue
            if header is not None:
                sections.append(_section(path, header, lines, sections))
            header, lines = line, []
    return sections


def _section(path: str, header: Line, lines: list[Line], before: list[Section]) -> Section:
    keyword, *rest = header.words
    named = rest[rest.index("from") + 1] if "from" in rest[:-1] else ""
    defaults = [one for one in before if one.keyword == "defaults" and (not named or one.name == named)]
    own = defaults[-1] if defaults and keyword in {"frontend", "backend", "listen"} else None
    last = lines[-1].number if lines else header.number
    name = rest[0] if rest and rest[0] != "from" else ""
    return Section(keyword, name, path, header.number, last, header.text, tuple(lines), own)


def _lines(text: str) -> typing.Iterator[Line]:
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # a quote that ends on a later line
            words = line.split()
        if words:
            yield Line(number, tuple(words), line)
