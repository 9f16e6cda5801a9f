# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What every driver does with the migration tool that the app brought."""

from __future__ import annotations

import contextlib
import typing

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_lock import LockSession
    from ansible_collections.baton.release.plugins.module_utils.migration_plan import Schema, Way
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Ended, Surroundings

__all__ = ["ReadsAhead", "Tool", "reading_ahead"]


@contextlib.contextmanager
def reading_ahead(tool: Tool) -> typing.Iterator[None]:
    """Have the tool load already what it takes to read where the database is after what is done meanwhile, where it can do that."""
    if isinstance(tool, ReadsAhead):
        with tool.reading_ahead():
            yield
    else:
        yield


@typing.runtime_checkable
class ReadsAhead(typing.Protocol):
    """A driver whose tool takes longer to load than to read."""

    def reading_ahead(self) -> contextlib.AbstractContextManager[None]:
        """Load the tool for the next ``schema``."""


class Tool(typing.Protocol):
    """What a driver does with the app's own migration tool."""

    surroundings: Surroundings
    """The environment that the tool is run in."""
    remembers: bool
    """Whether ``up`` and ``down`` go by what ``schema`` has read just before, and not by the way alone."""

    def schema(self) -> Schema:
        """Return where the tree and the database are; writes nothing, not even what the tool's own status would write.

        Raises:
            BatonError: it cannot be read, or the database is in a state from which the tool cannot go on.
        """

    def up(self, way: Way, session: LockSession) -> Ended:
        """Apply the steps of ``way`` and nothing else, while ``session`` holds the lock."""

    def down(self, way: Way, session: LockSession) -> Ended:
        """Undo the steps of ``way`` and nothing else, while ``session`` holds the lock.

        Raises:
            BatonError: the tool cannot do that.
        """

    def advice(self, ended: Ended) -> str | None:
        """Return what to do about a run of the tool that failed, None when only the database's own words tell."""
