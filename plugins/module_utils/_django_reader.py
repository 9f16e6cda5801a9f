# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A program for the app's own interpreter, run in its release tree: it prints where a Django project and its database are.

It is fed to ``python -`` on standard input, so it imports nothing of this collection. The project's ``manage.py`` runs as it always
does, up to where it would hand over to Django. The answer is the one line that begins with the marker, the last argument.
"""

from __future__ import annotations

import json
import runpy
import sys
import typing

Key = typing.Tuple[str, str]  # noqa: UP006 - evaluated on Python 3.8 too
_LONGEST = 200


def read(alias: str, vendor: str) -> dict[str, typing.Any]:
    """Return the migrations of the project, parents first, and those in the database ``alias`` in the order they were applied in.

    One of another vendor is not read; then the answer says which one that is.
    """
    # This file is also imported where there is no Django, for its text alone.
    import django  # noqa: PLC0415 - see above
    from django.db import connections  # noqa: PLC0415 - see above
    from django.db.migrations.loader import MigrationLoader  # noqa: PLC0415 - see above
    from django.db.migrations.recorder import MigrationRecorder  # noqa: PLC0415 - see above

    django.setup()
    connection = connections[alias]
    if connection.vendor != vendor:
        return {"vendor": connection.vendor}
    loader = MigrationLoader(connection)
    # Read by itself: it makes no table, unlike what runs migrations.
    recorder = MigrationRecorder(connection)
    rows: list[Key] = []
    if recorder.has_table():
        rows = list(recorder.migration_qs.order_by("id").values_list("app", "name"))
    order = in_order(loader.graph)
    done = applied(loader, rows)
    current = {app: (app, name) for app, name in done}
    return {
        "version": django.get_version(),
        "revisions": [revision(loader.graph, key) for key in order],
        "heads": sorted(map(named, loader.graph.leaf_nodes())),
        "done": [named(key) for key in done],
        "current": sorted(map(named, current.values())),
        "conflict": [
            named((app, name)) for app, names in sorted(loader.detect_conflicts().items()) for name in sorted(names)
        ],
    }


def in_order(graph: typing.Any) -> list[Key]:
    """Return the migrations in the order in which Django would apply all of them."""
    found: dict[Key, None] = {}
    for leaf in graph.leaf_nodes():
        found.update(dict.fromkeys(graph.forwards_plan(leaf)))
    return list(found)


def applied(loader: typing.Any, rows: list[Key]) -> list[Key]:
    """Return what is applied, known to the project or not, in order; one that replaces others takes their place."""
    at: dict[Key, int] = {}
    for index, (app, name) in enumerate(rows):
        at.setdefault((app, name), index)
    places = {key: index for key, index in at.items() if key not in loader.disk_migrations}
    for key, migration in loader.graph.nodes.items():
        if key not in loader.applied_migrations:
            continue
        candidates = [at[key]] if key in at else []
        replaced = [at[one] for one in map(tuple, migration.replaces) if one in at]
        # Noted when it was already there by what it replaces, it would seem to be the newest.
        places[key] = min([*candidates, max(replaced)] if replaced else candidates)
    return sorted(places, key=lambda key: (places[key], key))


def revision(graph: typing.Any, key: Key) -> dict[str, typing.Any]:
    """Return what is to be known of one migration."""
    migration = graph.nodes[key]
    module = sys.modules[migration.__module__]
    told = (module.__doc__ or "").strip().partition("\n")[0]
    return {
        "revision": named(key),
        "description": told or "; ".join(one.describe() for one in migration.operations)[:_LONGEST],
        "phase": getattr(module, "phase", "unmarked"),
        "parents": [named(parent.key) for parent in sorted(graph.node_map[key].parents)],
        "down": way_down(migration.operations),
    }


def way_down(operations: typing.Any) -> str:
    """Return ``yes``, ``empty`` (it would undo nothing) or ``refuses`` (Django raises IrreversibleError)."""
    if not all(one.reversible for one in operations):
        return "refuses"
    nothing = [
        getattr(one, "reverse_code", None) is getattr(one, "noop", one) or getattr(one, "reverse_sql", None) == ""
        for one in operations
    ]
    return "empty" if nothing and all(nothing) else "yes"


def named(key: Key) -> str:
    """Return a migration as ``app.name``."""
    return ".".join(key)


def main() -> None:
    """Print the marker and the answer, or the marker and why there is none."""
    manage, alias, vendor, marker = sys.argv[1:]
    answers: list[dict[str, typing.Any]] = []

    def instead(_argv: typing.Any = None) -> None:
        answers.append(read(alias, vendor))

    try:
        from django.core import management  # noqa: PLC0415 - see above
    except ModuleNotFoundError as error:
        answers.append({"missing": error.name})
    else:
        management.execute_from_command_line = instead
        sys.argv = [manage, "showmigrations"]
        runpy.run_path(manage, run_name="__main__")
    if not answers:
        raise RuntimeError(f"{manage} does not end in execute_from_command_line of django.core.management")
    sys.stdout.write(f"\n{marker}{json.dumps(answers[0])}\n")


if __name__ == "__main__":
    main()
