"""A balancer for tests that looks up real files, and whose servers are what the test says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.baton.release.plugins.module_utils.door import Door
from ansible_collections.baton.release.plugins.module_utils.lookup_files import LookupFiles
from ansible_collections.baton.release.plugins.module_utils.routing import Routing
from ansible_collections.baton.release.plugins.module_utils.switch import Wanted, switch

__all__ = ["BalancerOfFiles"]


class BalancerOfFiles:
    """The part of every such balancer that is not about its servers."""

    def __init__(self) -> None:
        """Begin without a place; ``at`` gives it one."""
        self.files = LookupFiles(Path("/nowhere"))
        self.moved_to = Door()

    def at(self, directory: Path) -> BalancerOfFiles:
        """Have the files in ``directory``."""
        self.files = LookupFiles(directory)
        return self

    def pools(self) -> dict[str, Any] | None:
        """Return what the test says."""
        raise NotImplementedError

    def in_flight(self) -> dict[str, int] | None:
        """Return what the test says."""
        raise NotImplementedError

    def routing(self, pools: Any) -> Routing:
        """Return where the files send requests."""
        return self.files.routing(pools)

    def route(self, before: Routing, after: Routing, pools: Any) -> None:
        """Change the files."""
        self.files.route(before, after, pools)

    def door(self) -> Door:
        """Return the door that was asked for last."""
        return self.moved_to

    def refuse_door(self, after: Door) -> None:
        """Refuse none."""

    def move_door(self, after: Door) -> None:
        """Remember it."""
        self.moved_to = after

    def server_states(self) -> dict[str, dict[str, str]]:
        """Return none."""
        return {}

    def warnings(self) -> list[str]:
        """Return none."""
        return []

    def switch(self, directory: Path, wanted: Wanted, *, token: int | None = None, **more: Any) -> dict[str, Any]:
        """Switch this balancer, whose files are in ``directory``."""
        return switch(self.at(directory), wanted, state_dir=directory, token=token, **more)
