"""Run the shop: python -m shop."""

import os
import signal
import sys

import uvicorn

from shop.app import create_app
from shop.settings import SettingsError, read_settings


def main() -> None:
    """Serve until SIGTERM or SIGINT, finish the requests in progress, exit with 0."""
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        print(f"shop: {error}", file=sys.stderr)
        sys.exit(2)
    # After its orderly end uvicorn raises the signal again for the handler that was there before: by default, death.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        # Longer than load balancers keep idle connections (nginx: 60 s), so that it is always the balancer that closes.
        # If the shop closed first, the balancer could be sending a request into that connection at the same moment.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=settings.shutdown_timeout,
        # The library that is released with the shop, whatever else this Python has.
        ws="wsproto",
        access_log=False,
        server_header=False,
        lifespan="on",
    )


if __name__ == "__main__":
    main()
