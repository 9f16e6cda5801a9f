# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The drivers for migration tools, one file each; only the one that is asked for is loaded."""

from __future__ import annotations

import sys
import typing

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import ToolSettings
    from ansible_collections.baton.release.plugins.module_utils.migrations import Tool

__all__ = ["DRIVERS", "OWN_OPTIONS", "tool"]

Options = typing.Mapping[str, typing.Any]


def _alembic(settings: ToolSettings, options: Options) -> Tool:
    from ansible_collections.baton.release.plugins.module_utils.migrate_alembic import Alembic  # noqa: PLC0415 - see above

    return Alembic(settings, python=options["python"] or sys.executable)


DRIVERS: dict[str, typing.Callable[[ToolSettings, Options], Tool]] = {"alembic": _alembic}
"""For each driver what makes one from the options of ``db_migrate``."""

OWN_OPTIONS: dict[str, tuple[str, ...]] = {"python": ("alembic",)}
"""The options of ``db_migrate`` that only some drivers know."""


def tool(driver: str, settings: ToolSettings, options: Options) -> Tool:
    """Return the driver called ``driver``.

    Raises:
        NotThereYet: something that a release has still to bring.
        BatonError: an option that another driver has.
    """
    for option, drivers in OWN_OPTIONS.items():
        if options[option] is not None and driver not in drivers:
            raise BatonError(
                found=f"the option {option} with the driver {driver}",
                expected=f"{option} only with {' or '.join(drivers)}",
                fix=f"leave out {option}, or correct driver; nothing was touched",
            )
    return DRIVERS[driver](settings, options)
