import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from conftest import Shop, running
from wsproto import WSConnection
from wsproto.connection import ConnectionType
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)

from shop import __version__
from shop.settings import Settings

WHO = {"version": __version__, "instance": "app1", "slot": "green"}


class Talk:
    """One WebSocket, from the client's side."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._protocol = WSConnection(ConnectionType.CLIENT)

    def say(self, event: Event) -> Event:
        """Send one event and return the one that comes back."""
        self._connection.sendall(self._protocol.send(event))
        return self.hear()

    def hear(self) -> Event:
        while True:
            for event in self._protocol.events():
                return event
            data = self._connection.recv(65536)
            self._protocol.receive_data(data or None)


@contextmanager
def talking(shop: Shop) -> Iterator[Talk]:
    with socket.create_connection(("127.0.0.1", shop.port), timeout=5) as connection:
        yield Talk(connection)


def test_it_repeats_and_says_who_it_is(shop: Shop) -> None:
    with talking(shop) as talk:
        opened = talk.say(Request(host="shop", target="/echo"))
        assert isinstance(opened, AcceptConnection)
        headers = {name.decode(): value.decode() for name, value in opened.extra_headers}
        assert {name: headers[f"x-{name}"] for name in WHO} == WHO
        for text in ("one", "two"):
            answer = talk.say(TextMessage(data=text))
            assert isinstance(answer, Message)
            assert json.loads(answer.data) == {"echo": text, **WHO}
        assert isinstance(talk.say(Ping(payload=b"there?")), Pong)
        assert talk.say(CloseConnection(code=1000)).code == 1000


def test_only_texts_are_repeated(shop: Shop) -> None:
    with talking(shop) as talk:
        talk.say(Request(host="shop", target="/echo"))
        closed = talk.say(BytesMessage(data=b"\0"))
        assert (type(closed), closed.code) == (CloseConnection, 1003)


def test_a_shop_that_ends_says_so(settings: Settings) -> None:
    with ExitStack() as stack:
        with running(settings) as shop:
            talk = stack.enter_context(talking(shop))
            talk.say(Request(host="shop", target="/echo"))
        closed = talk.hear()
        assert (type(closed), closed.code) == (CloseConnection, 1012)


def test_elsewhere_there_is_no_websocket(shop: Shop) -> None:
    with talking(shop) as talk:
        refused = talk.say(Request(host="shop", target="/products"))
        assert isinstance(refused, RejectConnection)
        assert shop.get("/echo").status == 404
