"""Every response says who made it."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shop.settings import Settings

# The messages that begin a response: to a request, to a WebSocket that is accepted, to one that is not.
BEGINNINGS = ("http.response.start", "websocket.accept", "websocket.http.response.start")


class Identity:
    """Adds X-Version, X-Instance and X-Slot to each response.

    It wraps the whole application: Starlette puts its answer to a crash outside of the middlewares it is given.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._headers = [
            (f"x-{name}".encode(), value.encode("ascii", "replace")) for name, value in settings.identity.items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_signed(message: Message) -> None:
            if message["type"] in BEGINNINGS:
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        await self._app(scope, receive, send_signed)
