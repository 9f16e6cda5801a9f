# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The environment of this process as a secret store: the keys are names of variables."""

from __future__ import annotations

import os
import typing

__all__ = ["read_env"]


def read_env(keys: typing.Iterable[str], *, path: str | None) -> dict[str, str]:
    """Return those of ``keys`` that are set, with their values, which may be empty; ``path`` is for other stores."""
    del path
    return {key: os.environ[key] for key in keys if key in os.environ}
