"""Is this instance alive, and can it take traffic?"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import anyio
from anyio import CapacityLimiter, to_thread
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError, SQLAlchemyError
from starlette.requests import Request
from starlette.responses import JSONResponse

from shop.schema import NEEDED_REVISION, too_old_revisions
from shop.settings import Settings

DEADLINE_SECONDS = 2


@dataclass(frozen=True)
class Check:
    """One thing that has to work before traffic may come, and why it does not."""

    name: str
    ready: bool
    detail: str


class Health:
    """The health endpoints; they have connections and threads of their own: a busy shop is slow, not unhealthy."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._too_old = too_old_revisions()
        self._limiter = CapacityLimiter(2)

    async def live(self, _request: Request) -> JSONResponse:
        """The process runs; nothing else is asked."""
        return JSONResponse({"status": "alive", **self._settings.identity})

    async def ready(self, _request: Request) -> JSONResponse:
        """Traffic may come."""
        checks, ready = await self._look()
        return JSONResponse({"ready": ready, **self._settings.identity, "checks": checks}, 200 if ready else 503)

    async def status(self, _request: Request) -> JSONResponse:
        """Everything at once, for people and for monitoring."""
        checks, ready = await self._look()
        body = {
            "status": "healthy" if ready else "unhealthy",
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            **self._settings.identity,
            "checks": checks,
        }
        return JSONResponse(body, 200 if ready else 503)

    async def _look(self) -> tuple[list[dict[str, object]], bool]:
        try:
            with anyio.fail_after(DEADLINE_SECONDS):
                checks = await to_thread.run_sync(self._ask_database, abandon_on_cancel=True, limiter=self._limiter)
        except TimeoutError:
            checks = [Check("database", False, f"no answer within {DEADLINE_SECONDS} s")]
        return [asdict(check) for check in checks], all(check.ready for check in checks)

    def _ask_database(self) -> list[Check]:
        try:
            with self._engine.connect() as connection:
                return [Check("database", True, "answers"), self._compare_schema(self._revisions(connection))]
        except SQLAlchemyError as error:
            # Only the kind of error: its text can name users, hosts and statements.
            return [Check("database", False, f"cannot be used ({type(error).__name__})")]

    def _revisions(self, connection: Connection) -> list[str]:
        try:
            return sorted(connection.scalars(text("SELECT version_num FROM alembic_version")))
        except (OperationalError, ProgrammingError):
            # There is no such table yet, or no database any more: then this fails as well.
            connection.rollback()
            connection.execute(text("SELECT 1"))
            return []

    def _compare_schema(self, found: list[str]) -> Check:
        ready = bool(found) and not self._too_old.issuperset(found)
        revision = ", ".join(found) or "no revision"
        return Check("schema", ready, f"is at {revision}, this version needs {NEEDED_REVISION}")
