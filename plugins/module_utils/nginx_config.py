# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The files of an nginx's configuration as a tree of directives. They are read, not checked: nginx -t would make logs and directories."""

from __future__ import annotations

import re
import typing
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Directive", "directives", "every", "included"]

_TOKEN = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
      | (?P<mark>[{};])
      | "(?P<weak>(?:\\.|[^"\\])*)" | '(?P<strong>(?:\\.|[^'\\])*)'
      | (?P<word>(?:\\.|\$\{[^}]*\}|[^\s{};"'\\])(?:\\.|\$\{[^}]*\}|[^\s{};\\])*)""",
    re.VERBOSE | re.DOTALL,
)
_DEEPEST = 16


@dataclass(frozen=True)
class Directive:
    """A directive with its lines, which begin with 1; ``block`` is what stands in its braces, None for one without."""

    name: str
    arguments: tuple[str, ...]
    path: str
    first: int
    last: int
    block: tuple[Directive, ...] | None


def directives(path: Path, base: Path | None = None, depth: int = 0) -> tuple[Directive, ...]:
    """Return the directives of a file, with those of the files that it includes after each ``include``.

    A file that is not there, or may not be read, has none. ``base`` is where relative names begin: the directory of the main file.
    """
    here = base or path.parent
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    found, _rest = _block(list(_tokens(text)), 0, str(path))
    return tuple(_expanded(found, here, depth))


def every(tree: typing.Iterable[Directive], name: str) -> typing.Iterator[Directive]:
    """Yield the directives of a name, wherever they stand."""
    for one in tree:
        if one.name == name:
            yield one
        yield from every(one.block or (), name)


def included(path: Path, main: Path) -> bool:
    """Say whether the configuration reads ``path``, or would if it were there, in its block http."""
    blocks = [one for one in directives(main) if one.name == "http"]
    patterns = [one.arguments[0] for one in every(blocks, "include") if one.arguments]
    return any(path.match(str(main.parent / pattern)) for pattern in patterns)


def _expanded(found: typing.Iterable[Directive], base: Path, depth: int) -> typing.Iterator[Directive]:
    for one in found:
        block = None if one.block is None else tuple(_expanded(one.block, base, depth))
        yield Directive(one.name, one.arguments, one.path, one.first, one.last, block)
        if one.name == "include" and one.arguments and depth < _DEEPEST:
            for path in sorted(Path("/").glob(str(base / one.arguments[0]).lstrip("/"))):
                yield from directives(path, base, depth + 1)


def _tokens(text: str) -> typing.Iterator[tuple[str, bool, int]]:
    """Yield word, whether it is a mark (a brace or a semicolon), and line."""
    line = 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup == "mark":
            yield match["mark"], True, line
        elif match.lastgroup != "blank":
            # One of them, of which a quoted one may be empty.
            word = [one for one in match.group("weak", "strong", "word") if one is not None][0]  # noqa: RUF015 - no next() in a generator
            yield word, False, line
        line += match[0].count("\n")


def _block(tokens: list[tuple[str, bool, int]], at: int, path: str) -> tuple[list[Directive], int]:
    found: list[Directive] = []
    words: list[str] = []
    first = 0
    while at < len(tokens):
        word, mark, line = tokens[at]
        at += 1
        if not mark:
            first = line if not words else first
            words.append(word)
        elif word == "}":
            break
        elif words:
            block: list[Directive] | None = None
            if word == "{":
                block, at = _block(tokens, at, path)
            last = tokens[at - 1][2]
            found.append(
                Directive(words[0], tuple(words[1:]), path, first, last, None if block is None else tuple(block))
            )
            words = []
    return found, at
