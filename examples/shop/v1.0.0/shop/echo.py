"""A WebSocket that repeats what it hears: it shows how connections fare that last."""

from starlette.websockets import WebSocket, WebSocketDisconnect

from shop.settings import Settings

# RFC 6455, 7.4.1: data of a kind that this endpoint does not take.
UNSUPPORTED_DATA = 1003


class Echo:
    """The endpoint of the echo."""

    def __init__(self, settings: Settings) -> None:
        self._identity = settings.identity

    async def talk(self, websocket: WebSocket) -> None:
        """Answer each text with the same text and who says so, until the client leaves."""
        await websocket.accept()
        try:
            while (message := await websocket.receive())["type"] == "websocket.receive":
                if message.get("text") is None:
                    await websocket.close(UNSUPPORTED_DATA, "only texts are repeated")
                    return
                await websocket.send_json({"echo": message["text"], **self._identity})
        except WebSocketDisconnect:
            return  # the client left while it was being answered
