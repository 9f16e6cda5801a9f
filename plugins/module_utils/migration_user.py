# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""As whom the app's migration tool runs: it is code of the app, which root should not run."""

from __future__ import annotations

import os
import pwd
import typing
from dataclasses import dataclass

from ansible_collections.baton.release.plugins.module_utils.errors import BatonError

__all__ = ["Account", "account_of"]

# What tells of the user that this process runs as, or lets a program find its files.
_PERSONAL = ("HOME", "LOGNAME", "MAIL", "SHELL", "USER", "USERNAME", "XDG_RUNTIME_DIR")
_PERSONAL_BEGINNINGS = ("SUDO_", "SSH_", "XDG_")


@dataclass(frozen=True)
class Account:
    """A user of this host."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    def own_environment(self, environment: typing.Mapping[str, str]) -> dict[str, str]:
        """Return ``environment`` with what is personal in it as this user would have it."""
        kept = {
            name: value
            for name, value in environment.items()
            if name not in _PERSONAL and not name.startswith(_PERSONAL_BEGINNINGS)
        }
        return {**kept, "HOME": self.home, "LOGNAME": self.name, "USER": self.name}

    def as_options(self) -> dict[str, typing.Any]:
        """Return what ``subprocess.Popen`` takes to run a program as this user."""
        return {"user": self.uid, "group": self.gid, "extra_groups": list(self.groups)}


def account_of(name: str) -> Account | None:
    """Return the user ``name``, or None when this process runs as that one already.

    Raises:
        KeyError: there is no such user.
        BatonError: this process may not become another user.
    """
    entry = pwd.getpwnam(name)
    if entry.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise BatonError(
            found=f"a task that runs as another user (uid {os.geteuid()})",
            expected=f"root, to run the app's migration tool as {name}, or {name} itself",
            fix="let this task run as root (ansible_become: true for the app hosts), or leave out the option user",
        )
    groups = tuple(os.getgrouplist(name, entry.pw_gid))
    return Account(name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir)
