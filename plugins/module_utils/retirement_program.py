# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The program with which a host retires its idle slot when nobody's controller is there.

``app_slot`` writes it beside ``retirement.json``, and a timer runs it with the state directory as its argument; so it stands alone. It
stops the slot only if

- the time has come, and no newer lease than that of the record was ever seen here: then somebody is at work, or was;
- every load balancer, asked as users ask it, answers with the version of the *other* slot, several times in a row;
- under the lock that every change of this host is made under, the record is still the same one.

In doubt it stops nothing, and the timer runs it again later.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import time
import typing
import urllib.request
from pathlib import Path

__all__ = ["main", "reason_to_wait"]

TIMES = 5
"""How often each load balancer is asked: while clients move in steps, some answers would be another version's."""
PROBE_SECONDS = 3.0
_LARGEST_ANSWER = 1 << 16

Record = typing.Mapping[str, typing.Any]


def main(state_dir: Path) -> str:
    """Retire the slot if it may be; return what was done, or why nothing was."""
    record = _read(state_dir / "retirement.json")
    if not record:
        return "no slot is to be retired"
    why = reason_to_wait(record, newest_token=_token(state_dir), now=time.time()) or _served(record)
    if why:
        return why
    # Not before: whoever is about to switch has to wait for the lock only while the slot is being stopped.
    with (state_dir / "fence.lock").open("a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _read(state_dir / "retirement.json") != record or _token(state_dir) != record["token"]:
            return "somebody is at work since"
        done = subprocess.run(record["stop"], check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            return f"{' '.join(record['stop'])} failed"
        (state_dir / "retirement.json").unlink()
    subprocess.run(record["unschedule"], check=False, stdin=subprocess.DEVNULL)
    return f"{record['slot']} with {record['version']} is retired"


def reason_to_wait(record: Record, *, newest_token: int, now: float) -> str:
    """Return why the slot of ``record`` must not be retired now, as far as this host knows; "" if it may."""
    if newest_token != record["token"]:
        return f"this host has seen lease {newest_token}, and this belongs to lease {record['token']}"
    if now < record["at"]:
        return f"not before {record['at'] - now:.0f} s have passed"
    return ""


def _served(record: Record) -> str:
    """Return why the load balancers do not let the slot be retired; "" if each of them serves the other version."""
    if not record["ask"]:
        return "there is no load balancer to ask"
    for url in list(record["ask"]) * TIMES:
        served = _version(url, record["version_key"])
        if served != record["live_version"]:
            return f"{url} answers with {served or 'no version'}, not with {record['live_version']}"
    return ""


def _version(url: str, key: str) -> str:
    request = urllib.request.Request(url, headers={"Connection": "close"})  # noqa: S310 - an http or https URL of the settings
    # No proxy: it could keep an answer, and this is about what is so now.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=PROBE_SECONDS) as answer:
            found = json.loads(answer.read(_LARGEST_ANSWER))
        for part in key.split("."):
            found = found[part]
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    return str(found)


def _token(state_dir: Path) -> int:
    return int((_read(state_dir / "fence.json") or {}).get("token", 0))


def _read(path: Path) -> dict[str, typing.Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


if __name__ == "__main__":
    # For the journal of the host.
    sys.stdout.write(f"{main(Path(sys.argv[1]).absolute())}\n")
