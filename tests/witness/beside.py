# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Traffic beside a command: it flows before the command starts, and until after it has ended."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
import types
import typing

from tests.witness.options import UsageError
from tests.witness.process import Witness

__all__ = ["run_beside"]

# How long the first good answers may take.
FLOWING_SECONDS = 10.0
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_beside(witness: Witness, command: typing.Sequence[str], *, before: float, after: float) -> int:
    """Run ``command`` under the traffic of ``witness`` and return its exit code, as a shell would tell it.

    Args:
        witness: not started yet; it has ended in good order when this returns.
        command: what to run; signals are left to it, so that what was witnessed is judged however it ends.
        before: seconds of good traffic before the command starts.
        after: seconds of traffic after it has ended.

    Raises:
        UsageError: there is no such command.
        WitnessError: the service did not answer before the command, or the witness did not hold out until the end.
    """
    running: list[subprocess.Popen[bytes]] = []
    with witness, _signals_left_to(running):
        witness.wait_until_flowing(FLOWING_SECONDS)
        time.sleep(before)
        try:
            running.append(subprocess.Popen(command))
        except OSError as error:
            raise UsageError(f"{command[0]!r} cannot be run: {error.strerror}") from error
        code = running[0].wait()
        time.sleep(after)
        witness.stop()
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def _signals_left_to(running: typing.Sequence[subprocess.Popen[bytes]]) -> typing.Iterator[None]:
    def hand_on(number: int, _frame: types.FrameType | None) -> None:
        if not running:
            raise KeyboardInterrupt
        # A terminal has sent Ctrl-C to the command already.
        if number != signal.SIGINT:
            running[0].send_signal(number)

    previous = {number: signal.signal(number, hand_on) for number in NUMBERS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
