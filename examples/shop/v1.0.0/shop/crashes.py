"""A request that crashes does not take its connection along."""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG = logging.getLogger("uvicorn.error")


class Crashes:
    """Logs the crash of a request that was answered, where the server would log it and then close the connection.

    The load balancer has the answer by then, and may be sending the next request into it at the same moment.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered = False

        async def send_noted(message: Message) -> None:
            nonlocal answered
            await send(message)
            answered = message["type"] == "http.response.body" and not message.get("more_body", False)

        try:
            await self._app(scope, receive, send_noted)
        except Exception:
            if not answered:
                raise
            LOG.exception("Exception in a request that was answered")
