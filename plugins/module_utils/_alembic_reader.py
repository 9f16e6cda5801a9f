# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A program for the app's own interpreter, run in its release tree: it prints where the tree and the database are.

It is the text of ``python -c``, so it imports nothing of this collection. It loads Alembic, and reads when its standard input has ended.
The app's ``env.py`` may print as it likes: the answer is the one line that begins with the marker given as the first argument.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
import typing


def read() -> dict[str, typing.Any]:
    """Return the revisions of the tree in the working directory, base first, and those the database is at."""
    # This file is also imported where there is no Alembic, for its text alone.
    from alembic.config import Config  # noqa: PLC0415 - see above
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415 - see above
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - see above

    sys.stdin.read()
    config = Config("alembic.ini")
    scripts = ScriptDirectory.from_config(config)
    seen: list[list[str]] = []

    def capture(current: typing.Any, _context: typing.Any) -> list[typing.Any]:
        seen.append(_listed(current))
        return []

    # dont_mutate is what `alembic current` passes: without it, Alembic would create its version table.
    with EnvironmentContext(config, scripts, fn=capture, dont_mutate=True):
        scripts.run_env()

    revisions = [
        {
            "revision": script.revision,
            "description": (script.doc or "").strip(),
            "phase": getattr(script.module, "phase", "unmarked"),
            "parents": [
                scripts.get_revision(parent).revision
                for parent in _listed(script.down_revision) + _listed(script.dependencies)
            ],
            "down": _way_down(script.module),
        }
        for script in scripts.walk_revisions()
    ]
    return {"current": seen, "heads": list(scripts.get_heads()), "revisions": revisions[::-1]}


def _listed(value: typing.Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def _way_down(module: typing.Any) -> str:
    """Return ``yes``, ``empty`` (it would undo nothing) or ``refuses`` (it raises NotImplementedError)."""
    try:
        body = ast.parse(inspect.getsource(module)).body
    except OSError:  # only the compiled file is there
        return "yes"
    functions = {node.name: _statements(node) for node in body if isinstance(node, ast.FunctionDef)}
    down = functions.get("downgrade", [])
    if any(isinstance(node, ast.Raise) and "NotImplementedError" in ast.dump(node) for node in down):
        return "refuses"
    # A merge of two branches does nothing in either direction, and that is right.
    return "yes" if down or not functions.get("upgrade") else "empty"


def _statements(function: ast.FunctionDef) -> list[ast.stmt]:
    return [
        node
        for node in function.body
        if not isinstance(node, ast.Pass) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]


def main() -> None:
    """Print the marker and the answer, or the marker and why there is none."""
    marker = sys.argv[1]
    try:
        answer = read()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "alembic":
            raise
        answer = {"missing": error.name}
    # Not print: what env.py did to the name would matter.
    sys.stdout.write(f"\n{marker}{json.dumps(answer)}\n")


if __name__ == "__main__":
    main()
