# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Runtimes behind one table: what keeps the process of a slot running on its host."""

from __future__ import annotations

import typing
from pathlib import Path

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.launch import Launch
from ansible_collections.baton.release.plugins.module_utils.runtime_systemd import Systemd

__all__ = ["RUNTIMES", "Runtime", "runtime_of"]


class Runtime(typing.Protocol):
    """Supervises programs, one for each slot; a program is called by its unit, a name that the runtime makes."""

    @property
    def program(self) -> str:
        """The name, in the directory of a slot, of the file that says what runs there."""

    @property
    def read_by_others(self) -> bool:
        """Whether another user than the one of this task reads that file."""

    def describe(self, launch: Launch, *, check_mode: bool) -> str:
        """Have on this host what it takes to run ``launch``, and return the text of the program's file.

        It is "" in check mode where that cannot be known before it is done. Another text means that the slot must be started anew.
        """

    def unit(self, app_name: str, slot: str) -> str:
        """Return what the program of a slot is called."""

    def singleton(self, app_name: str, slot: str, name: str) -> str:
        """Return what the program of a singleton of a slot is called."""

    def refuse_unfit(self, unit: str, command: Path, *, beside: Path) -> None:
        """Refuse, before anything is stopped for it, to run ``command`` as the singleton ``unit`` where this host cannot.

        Args:
            unit: the program.
            command: the program's file, which need not be there yet.
            beside: the directory of its slot.

        Raises:
            BatonError: with the reason.
        """

    def state(self, unit: str) -> dict[str, typing.Any]:
        """Return ``{"state": running|starting|failing|stopped|absent, "pid": int|None, "detail": str}``.

        ``absent`` is what neither runs nor would be started by itself.
        """

    def start(self, unit: str, *, command: Path, directory: Path, log: Path, stop_seconds: int) -> None:
        """Start the program from scratch; whether it stays up is for ``state`` to say.

        Args:
            unit: the program.
            command: the program's file.
            directory: the directory to run it in.
            log: where the program's output may go.
            stop_seconds: how long it may take to end after SIGTERM, from now on.
        """

    def stop(self, unit: str) -> bool:
        """Stop the program, however it is; say whether there was anything to stop. Waits until its processes have ended."""

    def discard(self, unit: str, *, check_mode: bool) -> bool:
        """Remove what is left of a program that was stopped, outside of the directory of its slot; say whether there was anything."""

    def keep(self, unit: str, *, check_mode: bool) -> bool:
        """Have the program come back when the host does; say whether that is new."""

    def forget(self, unit: str, *, check_mode: bool) -> bool:
        """Have the program not come back by itself, running or not; say whether that is new."""

    def commands_to_retire(self, unit: str, timer: str) -> tuple[list[str], list[str]]:
        """Return the command that stops the program, and the one that ends ``timer``; empty where there are no timers."""

    def schedule(self, timer: str, command: typing.Sequence[str], seconds: int) -> None:
        """Run ``command`` in so many seconds, and every few minutes after that until ``unschedule``; never after a restart of the host."""

    def unschedule(self, timer: str) -> None:
        """Have it not run any more."""

    def log_end(self, unit: str, *, log: Path) -> tuple[str, str]:
        """Return where the output of the program goes, and the last lines of it."""


def _docker(options: typing.Mapping[str, typing.Any]) -> Runtime:
    # Modules are compiled anew at each call on a host, so what only one of them needs is left to it.
    from ansible_collections.baton.release.plugins.module_utils.runtime_docker import Docker  # noqa: PLC0415 - see above

    return Docker(options)


def _supervisor(options: typing.Mapping[str, typing.Any]) -> Runtime:
    from ansible_collections.baton.release.plugins.module_utils.runtime_supervisor import Supervisor  # noqa: PLC0415 - as above

    return Supervisor(options["supervisor_config"])


RUNTIMES: dict[str, typing.Callable[[typing.Mapping[str, typing.Any]], Runtime]] = {
    "docker": _docker,
    "supervisor": _supervisor,
    "systemd": lambda _options: Systemd(),
}


def runtime_of(name: str, options: typing.Mapping[str, typing.Any]) -> Runtime:
    """Return the runtime called ``name``, made from the module's options.

    Raises:
        BatonError: there is no runtime of that name, or it cannot be used on this host.
    """
    if name not in RUNTIMES:
        raise BatonError(
            found=f"the runtime {name!r}",
            expected=f"one of {', '.join(sorted(RUNTIMES))}",
            fix="correct app_runtime; nothing was touched",
        )
    return RUNTIMES[name](options)
