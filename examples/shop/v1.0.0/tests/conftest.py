"""A shop on a real port, with a database in a file."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from alembic import command
from alembic.config import Config

from shop.app import create_app
from shop.settings import Settings, read_settings

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(frozen=True)
class Shop:
    port: int

    def ask(self, method: str, path: str, content: bytes | str | None = None) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(method, path, content)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        body = json.loads(text) if response.getheader("content-type") == "application/json" else {"text": text}
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def order(self, content: object) -> Answer:
        return self.ask("POST", "/orders", json.dumps(content))


@contextmanager
def running(settings: Settings) -> Iterator[Shop]:
    """Serve the shop in a thread, on a free port."""
    config = uvicorn.Config(create_app(settings), port=0, ws="wsproto", log_level="critical", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    try:
        yield Shop(server.servers[0].sockets[0].getsockname()[1])
    finally:
        # It needs 0.2 s for that, which no test has to wait for: Python waits for threads before it exits.
        server.should_exit = True


def migrate(settings: Settings, revision: str) -> None:
    """Take the schema to a revision, up or (to base) down."""
    config = Config(ROOT / "alembic.ini")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", str(settings.database_url))
        (command.downgrade if revision == "base" else command.upgrade)(config, revision)


def settings_in(directory: Path) -> Settings:
    url = f"sqlite:///{directory / 'shop.db'}"
    return read_settings({"DATABASE_URL": url, "BATON_INSTANCE": "app1", "BATON_SLOT": "green"})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    settings = settings_in(tmp_path_factory.mktemp("shop"))
    migrate(settings, "head")
    with running(settings) as started:
        yield started
