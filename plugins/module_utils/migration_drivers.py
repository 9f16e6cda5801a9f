# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The drivers for migration tools, one file each; only the one that is asked for is loaded."""

from __future__ import annotations

import sys
import typing

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.migration_kinds import refuse_other_kind

if typing.TYPE_CHECKING:
    from ansible_collections.baton.release.plugins.module_utils.migration_interface import Tool
    from ansible_collections.baton.release.plugins.module_utils.migration_tool import ToolSettings

__all__ = ["DRIVERS", "OWN_OPTIONS", "tool"]

Options = typing.Mapping[str, typing.Any]


def _alembic(settings: ToolSettings, options: Options) -> Tool:
    from ansible_collections.baton.release.plugins.module_utils.migrate_alembic import Alembic  # noqa: PLC0415 - see above

    return Alembic(settings, python=options["python"] or sys.executable)


def _django(settings: ToolSettings, options: Options) -> Tool:
    from ansible_collections.baton.release.plugins.module_utils.migrate_django import Django  # noqa: PLC0415 - see above

    return Django(
        settings,
        python=options["python"] or sys.executable,
        manage=options["django_manage"] or "manage.py",
        alias=options["django_database"] or "default",
    )


def _knex(settings: ToolSettings, options: Options) -> Tool:
    from ansible_collections.baton.release.plugins.module_utils.migrate_knex import Knex  # noqa: PLC0415 - see above

    return Knex(settings, node=options["knex_node"] or "node", knexfile=options["knex_file"])


def _dbmate(settings: ToolSettings, options: Options) -> Tool:
    from ansible_collections.baton.release.plugins.module_utils.migrate_dbmate import Dbmate  # noqa: PLC0415 - see above

    return Dbmate(
        settings,
        program=options["dbmate_program"] or "dbmate",
        directory=options["dbmate_directory"] or "db/migrations",
    )


def _sqitch(settings: ToolSettings, options: Options) -> Tool:
    from ansible_collections.baton.release.plugins.module_utils.migrate_sqitch import Sqitch  # noqa: PLC0415 - see above

    return Sqitch(
        settings,
        program=options["sqitch_program"] or "sqitch",
        registry=options["sqitch_registry"] or "sqitch",
    )


def _liquibase(settings: ToolSettings, options: Options) -> Tool:
    from ansible_collections.baton.release.plugins.module_utils.migrate_liquibase import Liquibase  # noqa: PLC0415 - see above

    return Liquibase(
        settings,
        program=options["liquibase_program"] or "liquibase",
        changelog=options["liquibase_changelog"],
        down=_goes_down(options),
    )


def _flyway(settings: ToolSettings, options: Options) -> Tool:
    from ansible_collections.baton.release.plugins.module_utils.migrate_flyway import Flyway  # noqa: PLC0415 - see above

    return Flyway(settings, program=options["flyway_program"] or "flyway", down=_goes_down(options))


def _goes_down(options: Options) -> bool:
    return bool(options["state"] == "downgraded" or options["way"] == "down")


def _command(settings: ToolSettings, options: Options) -> Tool:
    from ansible_collections.baton.release.plugins.module_utils.migrate_command import Command  # noqa: PLC0415 - see above

    commands = options["commands"] or {}
    missing = [name for name in ("status", "up") if not commands.get(name)]
    if missing:
        raise BatonError(
            found=f"no commands.{' and no commands.'.join(missing)}",
            expected="at least status and up, for the driver command",
            fix="add them to commands; nothing was touched",
        )
    return Command(settings, commands=commands)


DRIVERS: dict[str, typing.Callable[[ToolSettings, Options], Tool]] = {
    "alembic": _alembic,
    "command": _command,
    "dbmate": _dbmate,
    "django": _django,
    "flyway": _flyway,
    "knex": _knex,
    "liquibase": _liquibase,
    "sqitch": _sqitch,
}
"""For each driver what makes one from the options of ``db_migrate``."""

OWN_OPTIONS: dict[str, tuple[str, ...]] = {
    "python": ("alembic", "django"),
    "commands": ("command",),
    "dbmate_directory": ("dbmate",),
    "dbmate_program": ("dbmate",),
    "django_database": ("django",),
    "django_manage": ("django",),
    "flyway_program": ("flyway",),
    "knex_file": ("knex",),
    "knex_node": ("knex",),
    "liquibase_changelog": ("liquibase",),
    "liquibase_program": ("liquibase",),
    "sqitch_program": ("sqitch",),
    "sqitch_registry": ("sqitch",),
}
"""The options of ``db_migrate`` that only some drivers know."""


def tool(driver: str, settings: ToolSettings, options: Options) -> Tool:
    """Return the driver called ``driver``.

    Raises:
        NotThereYet: something that a release has still to bring.
        BatonError: an option that another driver has, or that means nothing to the kind of database.
    """
    for option, drivers in OWN_OPTIONS.items():
        if options[option] is not None and driver not in drivers:
            raise BatonError(
                found=f"the option {option} with the driver {driver}",
                expected=f"{option} only with {' or '.join(drivers)}",
                fix=f"leave out {option}, or correct driver; nothing was touched",
            )
    found = DRIVERS[driver](settings, options)
    refuse_other_kind(driver, found.surroundings.url, options)
    return found
