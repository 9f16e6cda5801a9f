"""How Alembic reaches the database: through DATABASE_URL, like the shop."""

import os

from alembic import context
from alembic.util import CommandError
from sqlalchemy import NullPool, create_engine

from shop.db import metadata
from shop.settings import SettingsError, read_database_url

# A transaction for each migration: in one for all, the first one's locks would be held until the last one is done.
OPTIONS = {"target_metadata": metadata, "transaction_per_migration": True}


def migrate() -> None:
    try:
        url = read_database_url(os.environ)
    except SettingsError as error:
        raise CommandError(str(error)) from None
    if context.is_offline_mode():
        context.configure(url=url, literal_binds=True, **OPTIONS)
        _run()
    else:
        with create_engine(url, poolclass=NullPool).connect() as connection:
            context.configure(connection=connection, **OPTIONS)
            _run()


def _run() -> None:
    with context.begin_transaction():
        context.run_migrations()


migrate()
