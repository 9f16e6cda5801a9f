# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The lease: one run at a time may change one app in one environment, and a dead run cannot hold it for ever.

A lease has a token that only grows. Whoever holds the newest token is the one allowed to change anything; the other hosts
enforce that with ``module_utils.fence``. Times are Unix seconds of the state host's clock, and of no other.
"""

from __future__ import annotations

import time
import typing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.files import locked, read_json, write_json

__all__ = ["Lease", "LeaseHeldError", "acquire", "gather", "release", "renew"]


@dataclass(frozen=True)
class Lease:
    """What the state host knows of the lock: the newest token, and its holder while there is one."""

    token: int = 0
    owner: str = ""
    reason: str = ""
    controller: dict[str, typing.Any] = field(default_factory=dict)
    acquired_at: float = 0.0
    renewed_at: float = 0.0
    expires_at: float = 0.0

    def held(self, now: float) -> bool:
        """Say whether somebody holds the lease at ``now``: released leases have no owner, expired ones no time left."""
        return bool(self.owner) and now < self.expires_at

    def as_result(self, now: float) -> dict[str, typing.Any]:
        """Return the lease for a module's result."""
        return {**asdict(self), "held": self.held(now)}

    def describe(self, now: float) -> str:
        """Say in one line who holds the lease, since when, why, and for how long still."""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self.acquired_at))
        heard = max(0, round(now - self.renewed_at))
        left = max(0, round(self.expires_at - now))
        return f"held by {self.owner} since {since} UTC ({self.reason}), last heard of {heard} s ago, {left} s left"


class LeaseHeldError(BatonError):
    """Somebody else holds the lease; the details carry it as ``lease``."""


def gather(state_dir: str | Path, *, now: float | None = None) -> dict[str, typing.Any]:
    """Return the lease as it is, changing nothing."""
    return _read(Path(state_dir)).as_result(_now(now))


def acquire(
    state_dir: str | Path,
    *,
    owner: str,
    reason: str,
    ttl: float,
    controller: typing.Mapping[str, typing.Any] | None = None,
    expected_token: int | None = None,
    takeover_token: int | None = None,
    newest_seen: int = 0,
    now: float | None = None,
    check_mode: bool = False,
) -> Lease:
    """Take the lease, with the next token.

    Args:
        state_dir: the app's state directory on the state host.
        owner: who is asking, for people.
        reason: why, for people.
        ttl: seconds without a renewal after which anybody may take the lease.
        controller: identity of the asking process, by which a later run can tell that it is dead.
        expected_token: the token seen when the plan was made; None when there was no plan.
        takeover_token: the token of a holder that the caller has proven dead.
        newest_seen: the newest token that any host of the environment has seen; more than this state host knows of, if it is a new one.
        now: the time, for tests.
        check_mode: decide and say, but write nothing.

    Raises:
        LeaseHeldError: somebody holds it.
        BatonError: somebody has held it since the plan was made.
    """
    directory, at = Path(state_dir), _now(now)

    def following(lease: Lease) -> Lease:
        _refuse_held(lease, at, takeover_token=takeover_token)
        _refuse_outdated(lease, at, expected_token=expected_token, takeover_token=takeover_token)
        return Lease(
            token=max(lease.token, newest_seen) + 1,
            owner=owner,
            reason=reason,
            controller=dict(controller or {}),
            acquired_at=at,
            renewed_at=at,
            expires_at=at + ttl,
        )

    if check_mode:
        return following(_read(directory))
    with locked(directory / "lease.lock"):
        lease = following(_read(directory))
        _write(directory, lease)
    return lease


def renew(state_dir: str | Path, *, token: int, ttl: float, now: float | None = None) -> Lease:
    """Extend the lease ``token`` by ``ttl`` seconds from now.

    Raises:
        BatonError: another run has taken the lease, or it was released.
    """
    directory = Path(state_dir)
    with locked(directory / "lease.lock"):
        lease = _own(_read(directory), token)
        at = _now(now)
        renewed = Lease(**{**asdict(lease), "renewed_at": at, "expires_at": at + ttl})
        _write(directory, renewed)
    return renewed


def release(state_dir: str | Path, *, token: int) -> bool:
    """Give the lease ``token`` back; say whether anything changed (a released lease stays released).

    Raises:
        BatonError: another run has taken the lease.
    """
    directory = Path(state_dir)
    with locked(directory / "lease.lock"):
        lease = _read(directory)
        if lease.token == token and not lease.owner:
            return False
        _own(lease, token)
        _write(directory, Lease(token=token))
    return True


def _refuse_held(lease: Lease, now: float, *, takeover_token: int | None) -> None:
    if lease.held(now) and takeover_token != lease.token:
        raise LeaseHeldError(
            found=f"the lock is {lease.describe(now)}",
            expected="no other run on this app and environment",
            fix="wait for that run, or for its lease to run out; status.yml shows both",
            lease=lease.as_result(now),
        )


def _refuse_outdated(lease: Lease, now: float, *, expected_token: int | None, takeover_token: int | None) -> None:
    if expected_token is not None and expected_token not in (lease.token, takeover_token):
        raise BatonError(
            found=f"lease {lease.token} was taken since this plan was made (the plan saw lease {expected_token})",
            expected="that nobody changed anything between the plan and the lock",
            fix="nothing was changed; run the same command again, and it will plan from what is there now",
            lease=lease.as_result(now),
        )


def _own(lease: Lease, token: int) -> Lease:
    if lease.token != token or not lease.owner:
        raise BatonError(
            found=f"the newest lease is {lease.token}"
            + (f" of {lease.owner}" if lease.owner else ", and nobody holds it"),
            expected=f"lease {token}, under which this run started",
            fix="this run must change nothing more; look at status.yml, then start it again if it is still wanted",
            lease=asdict(lease),
        )
    return lease


def _read(directory: Path) -> Lease:
    known = read_json(directory / "lease.json") or {}
    return Lease(**{name: known[name] for name in Lease.__dataclass_fields__ if name in known})


def _write(directory: Path, lease: Lease) -> None:
    write_json(directory / "lease.json", asdict(lease))


def _now(now: float | None) -> float:
    # Wall clock on purpose: a lease outlives processes and reboots.
    return time.time() if now is None else now
