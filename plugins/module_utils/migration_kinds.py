# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What kind of database a URL leads to, and which drivers and options of ``db_migrate`` know that kind."""

from __future__ import annotations

import typing

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["MYSQL", "POSTGRESQL", "SQLITE", "kind_of", "refuse_other_kind"]

POSTGRESQL, MYSQL, SQLITE = "PostgreSQL", "MySQL or MariaDB", "SQLite"
_SCHEMES = {
    "postgresql": POSTGRESQL,
    "postgres": POSTGRESQL,
    "mysql": MYSQL,
    "mariadb": MYSQL,
    "sqlite": SQLITE,
}
_KNOWN = "postgresql://, mysql://, mariadb:// or sqlite:////, each also as SQLAlchemy writes it (mysql+pymysql://)"

# What is not here knows all kinds.
_DRIVERS: dict[str, tuple[str, ...]] = {
    "flyway": (POSTGRESQL,),
    "liquibase": (POSTGRESQL,),
    "sqitch": (POSTGRESQL,),
}
_WHY = {
    ("sqitch", MYSQL): "; Sqitch would show the password in the command line of mysql",
}
# What only a rehearsal has a use for, which is made with PostgreSQL alone.
_OF_POSTGRESQL = (
    "rehearsal_bin",
    "rehearsal_tables",
    "rehearsal_url_variable",
    "rehearsal_same_server",
    "rehearsal_statements_of",
)


def kind_of(url: str) -> str:
    """Return ``POSTGRESQL``, ``MYSQL`` or ``SQLITE``, as the scheme of ``url`` says.

    Raises:
        BatonError: it is none of these.
    """
    scheme, separator, _rest = url.partition("://")
    kind = _SCHEMES.get(scheme.partition("+")[0].lower()) if separator else None
    if kind is None:
        raise BatonError(
            found=f"a database URL of the kind '{scheme}'" if separator else "a database URL without a scheme",
            expected=_KNOWN,
            fix="correct the URL where it is kept; other databases are not supported, and nothing was changed",
        )
    return kind


def refuse_other_kind(driver: str, url: str, options: typing.Mapping[str, typing.Any]) -> None:
    """Refuse a driver that does not know the kind of database that ``url`` leads to, and options that mean nothing to it.

    Raises:
        BatonError: the scheme of the URL is not known, or goes together neither with the driver nor with one of the options.
    """
    kind = kind_of(url)
    known = _DRIVERS.get(driver)
    if known is not None and kind not in known:
        raise BatonError(
            found=f"the driver {driver} with {kind}{_WHY.get((driver, kind), '')}",
            expected=f"{' or '.join(known)} for this driver",
            fix="use another tool for this database (the driver command runs any), or correct the URL; nothing was touched",
        )
    given = [name for name in _OF_POSTGRESQL if options.get(name)]
    if given and kind != POSTGRESQL:
        raise BatonError(
            found=f"{', '.join(given)} with {kind}",
            expected=f"{'it' if len(given) == 1 else 'them'} only with PostgreSQL, because other databases are not rehearsed",
            fix=f"leave out {', '.join(given)} (database_{given[0]} in the inventory), or correct the URL; nothing was touched",
        )
