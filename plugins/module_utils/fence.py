# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The fence: a host that has seen a newer lease refuses every change of an older one.

A controller can be paused or killed and leave a worker behind that finishes its task much later. So each change carries the
token of the lease it was made under, each host remembers the highest token it has seen, and check and change happen under one
lock on that host. (The fencing token of Kleppmann, "How to do distributed locking", 2016.)
"""

from __future__ import annotations

import contextlib
import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import locked, read_json, write_json

__all__ = ["FENCE_OPTIONS", "fenced", "newest_token"]

# The options of every module that changes something on behalf of a lease.
FENCE_OPTIONS: dict[str, dict[str, typing.Any]] = {
    "state_dir": {"type": "path", "required": True},
    "token": {"type": "int", "no_log": False},
}


@contextlib.contextmanager
def fenced(state_dir: str | Path, token: int | None, *, check_mode: bool) -> typing.Iterator[None]:
    """Run the body as the only change on this host, for a lease that is still the newest one seen here.

    Args:
        state_dir: the app's state directory on this host.
        token: the lease's token; None for a change that nobody coordinates (the lock still holds).
        check_mode: only compare; neither the lock file nor the token is written.

    Raises:
        BatonError: this host has seen a newer lease.
    """
    directory = Path(state_dir)
    if check_mode:
        _newest(directory, token)
        yield
        return
    with locked(directory / "fence.lock"):
        if token is not None and token > _newest(directory, token):
            write_json(directory / "fence.json", {"token": token})
        yield


def newest_token(state_dir: str | Path) -> int:
    """Return the newest token that this host has seen, 0 for none."""
    return int((read_json(Path(state_dir) / "fence.json") or {}).get("token", 0))


def _newest(directory: Path, token: int | None) -> int:
    newest = newest_token(directory)
    if token is not None and token < newest:
        raise BatonError(
            found=f"this host has seen lease {newest}, this change belongs to lease {token}",
            expected="the newest lease: another run has taken over since",
            fix="nothing was changed; look at status.yml and start the run again if it is still wanted",
            newest_token=newest,
        )
    return newest
