# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Secret stores behind one table: a driver takes keys and returns the values of those it has."""

from __future__ import annotations

import typing

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.secret_store_env import read_env
from ansible_collections.baton.release.plugins.module_utils.secret_store_file import read_file

__all__ = ["STORES", "fetch"]


class Store(typing.Protocol):
    """Reads from one kind of store."""

    def __call__(self, keys: typing.Iterable[str], *, path: str | None) -> dict[str, str]:
        """Return those of ``keys`` that are in the store, with their values."""


STORES: dict[str, Store] = {"env": read_env, "file": read_file}


def fetch(secrets: typing.Mapping[str, object], *, store: str, path: str | None, host: str) -> dict[str, str]:
    """Return the value of each secret: all of them or none.

    Args:
        secrets: name of the delivered variable to its key in the store.
        store: name of the driver.
        path: where the store is, for drivers that need it.
        host: what to call, in an error, the host on which the store is read.

    Raises:
        BatonError: the store cannot be read, or lacks some of the keys; the message names these and shows no value.
    """
    keys = {name: key for name, key in secrets.items() if isinstance(key, str) and key}
    if len(keys) < len(secrets):
        raise BatonError(
            found=f"no key for {', '.join(sorted(secrets.keys() - keys.keys()))}",
            expected="for each secret its key in the store, as a text",
            fix="correct secrets, and never put a value there",
        )
    values = STORES[store](keys.values(), path=path)
    missing = sorted(name for name, key in keys.items() if key not in values)
    if missing:
        place = f"the environment of {host}" if store == "env" else f"{path} on {host}"
        raise BatonError(
            found=f"{place} lacks {', '.join(f'{keys[name]} (for {name})' for name in missing)}",
            expected="every secret in its store before anything is written",
            fix="add them there and run again; nothing was written",
            missing=missing,
        )
    return {name: values[key] for name, key in keys.items()}
