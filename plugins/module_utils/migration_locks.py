# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The migration lock of the database that a tool reaches, whatever kind of database that is."""

from __future__ import annotations

import contextlib
import typing

from ansible_collections.baton.release.plugins.module_utils.migration_kinds import MYSQL, POSTGRESQL, kind_of
from ansible_collections.baton.release.plugins.module_utils.migration_lookout import look_out

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_lock import LockSession
    from ansible_collections.baton.release.plugins.module_utils.migration_lookout import Blocker
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import Surroundings

__all__ = ["hold_lock", "look_out_for"]


def hold_lock(around: Surroundings, *, wait: float) -> contextlib.AbstractContextManager[LockSession]:
    """Return what holds the lock while its body runs; only the library that this takes is loaded.

    Args:
        around: the environment of the tool.
        wait: seconds to wait for another holder.

    Raises:
        BatonError: the lock is not to be had.
    """
    kind = kind_of(around.url)
    if kind == POSTGRESQL:
        from ansible_collections.baton.release.plugins.module_utils.migration_lock import (  # noqa: PLC0415 - see above
            migration_lock,
        )

        return migration_lock(around.variables, around.url, wait=wait)
    if kind == MYSQL:
        from ansible_collections.baton.release.plugins.module_utils.migration_lock_mysql import (  # noqa: PLC0415 - see above
            mysql_lock,
        )

        return mysql_lock(around.url, wait=wait)
    from ansible_collections.baton.release.plugins.module_utils.migration_lock_sqlite import (  # noqa: PLC0415 - see above
        sqlite_lock,
    )

    return sqlite_lock(around.url, wait=wait)


def look_out_for(around: Surroundings) -> contextlib.AbstractContextManager[list[Blocker]]:
    """Return what looks for who keeps a migration waiting while its body runs, which only PostgreSQL tells everybody."""
    if kind_of(around.url) == POSTGRESQL:
        return look_out(around.variables, around.url)
    return contextlib.nullcontext([])
