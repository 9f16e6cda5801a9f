"""What can befall an app host, on a real one: how it begins, how it ends, and what clients may notice of it."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.fleet.docker import attempt
from tests.fleet.prod import Prod
from tests.witness.checker import Verdict, judge
from tests.witness.ledger import Ledger

__all__ = ["CRASH_LOOP", "FROZEN", "FULL", "UNREACHABLE", "WITH_A_TRIGGER", "Fault", "Struck", "struck"]

NOTICED_SECONDS = 25.0
"""HAProxy calls a server down whose three checks in a row had no answer in 5 s, a second apart; the rest is for a busy machine."""
TIMEOUT_SECONDS = 5.0
"""After so long a client of the tests gives up."""
IN_HAND_SECONDS = 1.0
"""For so long, before and after a crash was asked for, the app may have taken a request that is lost with it."""
ROOM = 64
"""KiB that a full disk still has at first."""

# What is there stays as it is: over it lies a layer that takes all writes, and has no room for any.
FILL = f"""
mkdir -p /run/full && mount -t tmpfs -o size={ROOM}k full /run/full
for directory in srv/{{app}} var/lib/baton
do
    [ -d /$directory ] || continue
    mkdir -p /run/full/$directory/up /run/full/$directory/work
    mount -t overlay -o lowerdir=/$directory,upperdir=/run/full/$directory/up,workdir=/run/full/$directory/work full /$directory
done
! dd if=/dev/zero of=/run/full/ballast bs=1k 2> /run/filled
grep -q 'No space left' /run/filled
"""
EMPTY = "for directory in /srv/{app} /var/lib/baton /run/full; do ! mountpoint -q $directory || umount --lazy $directory; done"
TRIGGER = "/run/{app}-crashes"
WITH_A_TRIGGER = {
    "shop/__init__.py": f"""
import os, signal, sys, threading, time
def _look():
    while not os.path.exists({TRIGGER.format(app="shop")!r} + "-" + os.environ["BATON_SLOT"]):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)
# The program itself, and not what migrates.
if sys.argv[0] == "-m" and "BATON_SLOT" in os.environ:
    if os.path.exists({TRIGGER.format(app="shop")!r} + "-" + os.environ["BATON_SLOT"]):
        raise SystemExit("no room")
    threading.Thread(target=_look, daemon=True).start()
"""
}
"""What is appended to a version that crashes in a slot, and at every start, as soon as a file says so."""


@dataclass(frozen=True)
class Fault:
    """One fault. Its commands are given to docker, and may name the ``{container}``, ``{app}`` and ``{slot}``."""

    name: str
    begins: tuple[str, ...]
    ends: tuple[str, ...]
    takes: tuple[float, float] | None = None
    """From so many seconds before it until so many after it the host may have taken requests with it; None where every one is answered."""
    only: str = ""
    """How these fail; nothing for any way."""


# All of sshd, also what holds the connections that there are: to whoever logs in the host is gone, and the app answers.
UNREACHABLE = Fault(
    "unreachable",
    ("exec", "{container}", "pkill", "-STOP", "-x", "sshd"),
    ("exec", "{container}", "pkill", "-CONT", "-x", "sshd"),
)
FROZEN = Fault(
    "frozen", ("pause", "{container}"), ("unpause", "{container}"), (TIMEOUT_SECONDS, NOTICED_SECONDS), "timeout"
)
FULL = Fault("full disk", ("exec", "{container}", "sh", "-ec", FILL), ("exec", "{container}", "sh", "-ec", EMPTY))
CRASH_LOOP = Fault(
    "crash loop",
    ("exec", "{container}", "touch", TRIGGER + "-{slot}"),
    ("exec", "{container}", "rm", "-f", TRIGGER + "-{slot}"),
    (IN_HAND_SECONDS, IN_HAND_SECONDS),
)


class Struck:
    """A fault on a host: how it is brought about in a shell, how it ends, and what clients saw of it."""

    def __init__(self, shop: Prod, fault: Fault, host: str, slot: str) -> None:
        """Do nothing yet."""
        given = {"container": shop.fleet.container(host), "app": "shop", "slot": slot}
        self.fault, self.host = fault, host
        self.ledgers: dict[str, Ledger] = {}
        self._mark = shop.root / f"struck-{time.time_ns()}"
        self._ends = [word.format(**given) for word in fault.ends]
        begins = shlex.join(["docker", *(word.format(**given) for word in fault.begins)])
        self.command = f"{begins} && date +%s.%N > {self._mark}"

    @property
    def began(self) -> float | None:
        """When it began, in Unix seconds; None where it has not."""
        return float(self._mark.read_text()) if self._mark.exists() else None

    def end(self) -> None:
        """End it; one that has ended, or never began, is fine."""
        attempt(*self._ends)

    @property
    def requests(self) -> int:
        """How many requests there were."""
        return sum(len(ledger) for ledger in self.ledgers.values())

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return sum(len(judge(ledger).failed_by_release) for ledger in self.ledgers.values())

    def complaints(self) -> list[str]:
        """Return what clients may complain of: any request that failed, but those that the host had taken."""
        return [
            f"{balancer}: {reason}"
            for balancer, ledger in self.ledgers.items()
            for reason in self._reasons(judge(ledger))
        ]

    def _reasons(self, verdict: Verdict) -> list[str]:
        began = self.began
        if self.fault.takes is None or began is None:
            return verdict.reasons
        before, after = self.fault.takes
        others = [
            record
            for record in verdict.failed_by_release
            if self.fault.only not in ("", record.error_kind) or not began - before < record.start < began + after
        ]
        reasons = [reason for reason in verdict.reasons if not reason.endswith("requests failed")]
        return reasons + ([f"{len(others)} requests failed that the host had not taken"] if others else [])


@contextlib.contextmanager
def struck(shop: Prod, fault: Fault, host: str, *, slot: str = "") -> Iterator[Struck]:
    """Have a fault at hand for a host, which has ended afterwards whatever happens.

    Args:
        shop: the fleet.
        fault: the fault.
        host: the host, by its short name.
        slot: the slot whose unit crashes.
    """
    one = Struck(shop, fault, host, slot)
    try:
        yield one
    finally:
        one.end()
