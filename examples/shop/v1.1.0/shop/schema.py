"""Which schema this version needs."""

from pathlib import Path

from alembic.script import ScriptDirectory

NEEDED_REVISION = "0002"
MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def too_old_revisions() -> frozenset[str]:
    """Return the revisions that come before the needed one.

    Every other one will do, also one that this version has never heard of: the next version has expanded the schema.
    """
    ancestors = ScriptDirectory(str(MIGRATIONS)).iterate_revisions(NEEDED_REVISION, "base")
    return frozenset(script.revision for script in ancestors) - {NEEDED_REVISION}
