# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a slot is to run, as each runtime is told, and the script that runs it where it is a process of the host itself."""

from __future__ import annotations

import shlex
import typing
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Launch", "run_script"]

RUN = """\
#!/bin/sh
# Written by baton.release.app_slot: how {app_name} {version} runs in slot {slot}.
cd {directory} || exit
{environment}{singleton}exec {command}
"""


@dataclass(frozen=True)
class Launch:
    """One version of an app in one slot."""

    app_name: str
    version: str
    slot: str
    port: int
    release: Path
    """The directory of the version."""
    directory: Path
    """The directory of the slot, with its environment files."""
    command: tuple[str, ...]
    stop_seconds: int
    own: typing.Mapping[str, str]
    """What the slot itself adds to the environment: PORT and BATON_*."""
    singleton: str = ""
    """The name of the singleton that is run beside the app, "" for the app itself."""


def run_script(launch: Launch, *, sources: bool) -> str:
    """Return the text of the script; with ``sources`` it reads the environment files that are there itself."""
    return RUN.format(
        app_name=launch.app_name,
        version=launch.version,
        slot=launch.slot,
        directory=shlex.quote(str(launch.release)),
        environment=_sources(launch.directory) if sources else "",
        singleton=f"export BATON_SINGLETON={shlex.quote(launch.singleton)}\n" if launch.singleton else "",
        command=" ".join(shlex.quote(word) for word in launch.command),
    )


def _sources(directory: Path) -> str:
    files = [path for path in (directory / "env", directory / "secrets.env") if path.name == "env" or path.exists()]
    return "".join(["set -a\n", *(f". {shlex.quote(str(path))}\n" for path in files), "set +a\n"])
