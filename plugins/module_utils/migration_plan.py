# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Pure decisions about migrations: what lies between where the database is and where it should be."""

from __future__ import annotations

import typing
from dataclasses import dataclass, replace

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["Revision", "Schema", "Way", "in_line", "refuse_contract", "refuse_irreversible"]

PHASES = ("expand", "contract", "unmarked")
BASE = "base"
ONE_BACK = "-1"
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
    whole: bool = False
    """Whether a way up that fails leaves nothing of it behind, also where a change of the schema is no part of a transaction."""

    def as_result(self) -> dict[str, str]:
        """Return what a module says of it."""
        return {"revision": self.revision, "description": self.description, "phase": self.phase}

    def as_undone(self) -> dict[str, str]:
        """Return what a module says of it when it is undone."""
        return {**self.as_result(), "down": self.down}


def in_line(revisions: typing.Iterable[Revision]) -> tuple[Revision, ...]:
    """Return ``revisions`` with each one as the parent of the next, for tools that know no branches."""
    found: list[Revision] = []
    for one in revisions:
        found.append(replace(one, parents=(found[-1].revision,) if found else ()))
    return tuple(found)


@dataclass(frozen=True)
class Schema:
    """The tree's ``revisions`` (parents first) and ``heads``, and where the database is (``current``)."""

    current: tuple[str, ...]
    heads: tuple[str, ...]
    revisions: tuple[Revision, ...]
    done: tuple[str, ...] | None = None
    """Every migration in the database in the order in which they were applied; None where a tool keeps only ``current``."""
    conflict: tuple[str, ...] | None = None
    """The heads between which a tool cannot choose; None for all of them when there are several."""

    @property
    def ahead(self) -> list[str]:
        """What is in the database and unknown to the tree: a newer tree was here.

        What was applied before the last one that is known is older than the tree instead: removed, or merged into another one.
        """
        known = self._by_name
        if self.done is None:
            return [one for one in self.current if one not in known]
        last = max((index for index, one in enumerate(self.done) if one in known), default=-1)
        return list(self.done[last + 1 :])

    @property
    def up_to_date(self) -> bool:
        """Whether the database is exactly at the tree's heads."""
        return not self.ahead and not self.pending()

    @property
    def at(self) -> str:
        """Where the database is, in words."""
        return ", ".join(self.current) or "base"

    @property
    def where(self) -> str:
        """Where the database is and what that means for this tree, in words."""
        if self.ahead:
            return f"the schema is ahead of this tree, which does not know {', '.join(self.ahead)}"
        waiting = len(self.pending())
        pending = f"{waiting} migrations of this tree are pending" if waiting else "up to date"
        return f"the schema is at {self.at}, {pending}"

    def applied(self) -> list[Revision]:
        """Return the revisions of the tree that are in the database, in the order in which they were applied."""
        if self.done is not None:
            known = self._by_name
            return [known[one] for one in self.done if one in known]
        return self._ordered(self._ancestry(self.current))

    def pending(self, targets: tuple[str, ...] | None = None) -> list[Revision]:
        """Return what is missing for ``targets`` (default: the heads), in order.

        Nothing when the database is ahead and its tool does not keep what was applied: then nobody can tell.
        """
        wanted = self._ancestry(self.heads if targets is None else targets)
        if self.done is not None:
            return self._ordered(wanted.difference(self.done))
        return [] if self.ahead else self._ordered(wanted - self._ancestry(self.current))

    def above(self, target: str) -> list[Revision]:
        """Return what going down to ``target`` undoes, the last one first: all that was applied on top of it."""
        applied = self.applied()
        if target == BASE:
            return applied[::-1]
        if self.done is not None:
            after = self.done[self.done.index(target) + 1 :] if target in self.done else ()
            return [one for one in applied if one.revision in after][::-1]
        return [one for one in applied if one.revision != target and target in self._ancestry((one.revision,))][::-1]

    def target_kept(self, keep: typing.Sequence[str]) -> str:
        """Return the revision to go down to so that all of ``keep`` stays, with what it builds on, and nothing else.

        Raises:
            BatonError: the tree does not know what to keep, or no single way down leads there.
        """
        for one in keep:
            self._known(one)
        if not keep:
            raise BatonError(
                found="nothing that is to be kept, and no revision to go down to",
                expected="at least one of them",
                fix="name the revision, base to undo all of them; nothing was changed",
            )
        needed = self._ancestry(keep)
        kept = [one.revision for one in self.applied() if one.revision in needed]
        target = kept[-1] if kept else BASE
        self._refuse_unknown(target)
        undone = {one.revision for one in self.above(target)}
        doomed = {one.revision for one in self.applied()} - needed
        if undone != doomed:
            raise BatonError(
                found=f"{', '.join(sorted(undone ^ doomed))} beside {target}, not on top of it",
                expected="what is to be undone on top of what is to stay",
                fix="name the revision to go down to, or correct the schema with a new migration",
                current=list(self.current),
            )
        return target

    def refuse_needed(self, undone: typing.Sequence[Revision], keep: typing.Sequence[str]) -> None:
        """Refuse to undo one of the revisions ``keep``, which a version in use was made for, or what they build on.

        Raises:
            BatonError: it would be undone, or this tree does not know what to keep.
        """
        unknown = [one for one in keep if one not in self._by_name]
        needed = self._ancestry(keep)
        doomed = [one.revision for one in undone if one.revision in needed]
        if undone and (unknown or doomed):
            raise BatonError(
                found=f"{', '.join(doomed) or ', '.join(unknown)}, which a version in use needs"
                + ("" if doomed else " and this tree does not know")
                + "; nothing was changed",
                expected="to undo only what no version in use was made for",
                fix="have an older version serve first (rollback.yml), or choose a revision above"
                if doomed
                else "go down from the tree of the newest version that was released here",
                needed=[one.revision for one in self.revisions if one.revision in needed],
            )

    def targets_up(self, revision: str | None) -> tuple[str, ...]:
        """Return the revisions that an upgrade to ``revision`` (default: the only head) must reach.

        Raises:
            BatonError: the tree does not know the revision, or it has several heads and none was named.
        """
        if revision == "heads":
            return self.heads
        if revision is not None and revision != "head":
            return (self._known(revision),)
        conflict = self.heads if self.conflict is None else self.conflict
        if len(conflict) > 1:
            raise BatonError(
                found=f"a tree with {len(conflict)} heads: {', '.join(conflict)}",
                expected="one head, so that it is clear where an upgrade ends",
                fix="merge them in the app ('alembic merge heads', 'manage.py makemigrations --merge'), or name the revision,"
                " or 'heads' for all of them",
                heads=list(self.heads),
            )
        return self.heads

    def target_down(self, revision: str) -> str:
        """Return the revision to go down to.

        Raises:
            BatonError: the tree does not know the revision, or not all that would be undone for it.
        """
        if revision not in (BASE, ONE_BACK):
            self._known(revision)
        self._refuse_unknown(revision)
        return self._one_back() if revision == ONE_BACK else revision

    def _refuse_unknown(self, revision: str) -> None:
        """Refuse to undo anything that lies under a migration which only a newer tree knows."""
        unknown = self.ahead
        if self.done is not None and (revision == BASE or revision in self.done):
            known, after = self._by_name, 0 if revision == BASE else self.done.index(revision) + 1
            unknown = [one for one in self.done[after:] if one not in known]
        if unknown:
            raise BatonError(
                found=f"a database at {', '.join(unknown)}, which this tree does not know",
                expected="a tree that holds every applied migration, because only it can undo them",
                fix="go down from the tree of the newest version that was released here",
                ahead=unknown,
                current=list(self.current),
            )

    def _one_back(self) -> str:
        """Return what the database is at when the last migration is undone."""
        if self.done is not None:
            return self.done[-2] if len(self.done) > 1 else BASE
        parents = self._by_name[self.current[0]].parents if len(self.current) == 1 else ()
        if len(self.current) > 1 or len(parents) > 1:
            raise BatonError(
                found=f"a database at {', '.join(self.current)}, from where several ways lead down",
                expected="one migration that was the last",
                fix="name the revision to go down to",
                current=list(self.current),
            )
        return parents[0] if parents else BASE

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


@dataclass(frozen=True)
class Way:
    """The way from where the database is: up to ``targets``, or down to the only one of them, in ``steps``."""

    before: Schema
    up: bool
    targets: tuple[str, ...]
    steps: tuple[Revision, ...]
    nothing: str
    """Why there is nothing to do, when there are no steps."""

    def left(self, schema: Schema) -> list[Revision]:
        """Return the steps that are still to be done.

        A tool may hold a step for a part of another migration, as soon as all that this one replaces is applied.
        """
        applied, known = {one.revision for one in schema.applied()}, {one.revision for one in schema.revisions}
        return [one for one in self.steps if one.revision in known and (one.revision in applied) != self.up]

    def besides(self, schema: Schema) -> list[str]:
        """Return what was applied or undone and is none of the steps."""
        was, now = ({one.revision for one in each.applied()} for each in (self.before, schema))
        known, known_now = ({one.revision for one in each.revisions} for each in (self.before, schema))
        return sorted(((was ^ now) & known & known_now).difference(one.revision for one in self.steps))

    def as_result(self, steps: typing.Iterable[Revision]) -> dict[str, list[dict[str, str]]]:
        """Return what a module says of ``steps``."""
        return {
            "applied": [one.as_result() for one in steps] if self.up else [],
            "undone": [] if self.up else [one.as_undone() for one in steps],
        }

    def __str__(self) -> str:
        verb = "apply" if self.up else "undo"
        return f"{verb} {', '.join(one.revision for one in self.steps)}"


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
            found=f"migrations that cannot be undone: {', '.join(irreversible)}; nothing was changed",
            expected="a way down without them",
            fix=f"choose a revision at or above {irreversible[0]}, or restore a backup",
            undone=[one.as_undone() for one in undone],
            irreversible=irreversible,
        )
