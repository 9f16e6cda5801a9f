"""What the environment says."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from shop import __version__


class SettingsError(ValueError):
    """The environment cannot be used; the message never repeats a value that may hold a secret."""


@dataclass(frozen=True)
class Settings:
    """Everything the shop is told from outside."""

    database_url: URL
    host: str
    port: int
    shutdown_timeout: int
    instance: str
    slot: str
    version: str = __version__

    @property
    def identity(self) -> dict[str, str]:
        """Who answers, as responses say it."""
        return {"version": self.version, "instance": self.instance, "slot": self.slot}


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings or raise SettingsError."""
    return Settings(
        database_url=read_database_url(environment),
        host=environment.get("HOST") or "127.0.0.1",
        port=_whole_number(environment, "PORT", default=8000, highest=65535),
        shutdown_timeout=_whole_number(environment, "SHUTDOWN_TIMEOUT", default=25, highest=3600),
        instance=environment.get("BATON_INSTANCE") or socket.gethostname(),
        slot=environment.get("BATON_SLOT") or "none",
    )


def read_database_url(environment: Mapping[str, str]) -> URL:
    """Return the database's URL, with the driver that is installed, or raise SettingsError."""
    expected = "expected postgresql://user:password@host:5432/name"
    text = environment.get("DATABASE_URL", "").strip()
    if not text:
        raise SettingsError(f"DATABASE_URL is not set; {expected}")
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise SettingsError(f"DATABASE_URL is not a database URL; {expected}") from None
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    return url


def _whole_number(environment: Mapping[str, str], name: str, *, default: int, highest: int) -> int:
    text = environment.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and int(text) <= highest):
        raise SettingsError(f"{name} is {text!r}; expected a whole number from 0 to {highest}")
    return int(text)
