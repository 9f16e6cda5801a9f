# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Pure decisions about migrations: what lies between where the database is and where it should be."""

from __future__ import annotations

import typing
from dataclasses import dataclass

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["Revision", "Schema", "refuse_contract", "refuse_irreversible"]

PHASES = ("expand", "contract", "unmarked")
_SHOWN_REVISIONS = 10


@dataclass(frozen=True)
class Revision:
    """One migration of the tree.

    ``phase`` is one of ``PHASES``; ``down`` is ``yes``, ``empty`` or ``refuses``; ``parents`` come before it.
    """

    revision: str
    description: str = ""
    phase: str = "unmarked"
    parents: tuple[str, ...] = ()
    down: str = "yes"

    def as_result(self) -> dict[str, str]:
        """Return what a module says of it."""
        return {"revision": self.revision, "description": self.description, "phase": self.phase}

    def as_undone(self) -> dict[str, str]:
        """Return what a module says of it when it is undone."""
        return {**self.as_result(), "down": self.down}


@dataclass(frozen=True)
class Schema:
    """The tree's ``revisions`` (parents first) and ``heads``, and the ones that the database is at (``current``)."""

    current: tuple[str, ...]
    heads: tuple[str, ...]
    revisions: tuple[Revision, ...]

    @property
    def ahead(self) -> list[str]:
        """Revisions of the database that the tree does not know: a newer tree was here."""
        return [one for one in self.current if one not in self._by_name]

    @property
    def up_to_date(self) -> bool:
        """Whether the database is exactly at the tree's heads."""
        return not self.ahead and not self.pending()

    def applied(self) -> list[Revision]:
        """Return the revisions of the tree that are in the database, in the tree's order."""
        return self._ordered(self._ancestry(self.current))

    def pending(self, targets: tuple[str, ...] | None = None) -> list[Revision]:
        """Return what is missing for ``targets`` (default: the heads), in order; nothing when the database is ahead."""
        if self.ahead:
            return []
        return self._ordered(self._ancestry(self.heads if targets is None else targets) - self._ancestry(self.current))

    def above(self, target: str) -> list[Revision]:
        """Return what going down to ``target`` undoes, the last one first: all applied revisions that build on it."""
        applied = self.applied()
        if target == "base":
            return applied[::-1]
        return [one for one in applied if one.revision != target and target in self._ancestry((one.revision,))][::-1]

    def targets_up(self, revision: str | None) -> tuple[str, ...]:
        """Return the revisions that an upgrade to ``revision`` (default: the only head) must reach.

        Raises:
            BatonError: the tree does not know the revision, or it has several heads and none was named.
        """
        if revision == "heads":
            return self.heads
        if revision is not None and revision != "head":
            return (self._known(revision),)
        if len(self.heads) > 1:
            raise BatonError(
                found=f"a tree with {len(self.heads)} heads: {', '.join(self.heads)}",
                expected="one head, so that it is clear where an upgrade ends",
                fix="merge them in the app ('alembic merge heads'), or name the revision, or 'heads' for all of them",
                heads=list(self.heads),
            )
        return self.heads

    def target_down(self, revision: str) -> str:
        """Return the revision to go down to.

        Raises:
            BatonError: the tree does not know the revision, or it does not know where the database is.
        """
        target = revision if revision == "base" else self._known(revision)
        if self.ahead:
            raise BatonError(
                found=f"a database at {', '.join(self.ahead)}, which this tree does not know",
                expected="a tree that holds every applied migration, because only it can undo them",
                fix="go down from the tree of the newest version that was released here",
                ahead=self.ahead,
                current=list(self.current),
            )
        return target

    @property
    def _by_name(self) -> dict[str, Revision]:
        return {one.revision: one for one in self.revisions}

    def _known(self, revision: str) -> str:
        if revision in self._by_name:
            return revision
        shown = ", ".join(one.revision for one in self.revisions[-_SHOWN_REVISIONS:]) or "none"
        raise BatonError(
            found=f"revision '{revision}', which this tree does not know",
            expected=f"the full identifier of one of its revisions (the last ones: {shown})",
            fix="correct the option revision, or point project_dir at the tree of the right version",
        )

    def _ancestry(self, names: typing.Iterable[str]) -> set[str]:
        by_name, reached, waiting = self._by_name, set(), list(names)
        while waiting:
            name = waiting.pop()
            if name in by_name and name not in reached:
                reached.add(name)
                waiting.extend(by_name[name].parents)
        return reached

    def _ordered(self, names: set[str]) -> list[Revision]:
        return [one for one in self.revisions if one.revision in names]


def refuse_contract(pending: typing.Sequence[Revision], *, allow: bool) -> None:
    """Refuse migrations that the version now serving does not survive, unless ``allow``.

    Raises:
        BatonError: at least one pending revision is marked as contract, or has a phase that means nothing.
    """
    unknown = [one for one in pending if one.phase not in PHASES]
    if unknown:
        raise BatonError(
            found=", ".join(f"{one.revision} with the phase {one.phase!r}" for one in unknown),
            expected='phase = "expand" or phase = "contract" in a revision\'s file',
            fix="correct the attribute 'phase' in these files",
        )
    contract = [one.revision for one in pending if one.phase == "contract"]
    if not contract or allow:
        return
    before = [one.revision for one in pending[: [one.revision for one in pending].index(contract[0])]]
    partly = f"release only the part before it now (revision: {before[-1]}), and " if before else ""
    raise BatonError(
        found=f"contract migrations: {', '.join(contract)}; nothing was changed",
        expected="only migrations that the previous version survives, as long as it may still serve",
        fix=f"{partly}run these with allow_contract when no older version is in use and there is no going back to one",
        pending=[one.as_result() for one in pending],
    )


def refuse_irreversible(undone: typing.Sequence[Revision]) -> None:
    """Refuse to start a way down that is known to end half-way.

    Raises:
        BatonError: at least one revision says that it cannot be undone.
    """
    irreversible = [one.revision for one in undone if one.down == "refuses"]
    if irreversible:
        raise BatonError(
            found=f"migrations whose downgrade raises: {', '.join(irreversible)}; nothing was changed",
            expected="a way down without them",
            fix=f"choose a revision at or above {irreversible[0]}, or restore a backup",
            undone=[one.as_undone() for one in undone],
            irreversible=irreversible,
        )
