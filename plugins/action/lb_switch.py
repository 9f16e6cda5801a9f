# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The controller's part of lb_switch: it is done by host_parts, like all that a release does on its hosts."""

from __future__ import annotations

from ansible_collections.baton.release.plugins.plugin_utils.on_host import OfOnePart

__all__ = ["ActionModule"]


class ActionModule(OfOnePart):
    """Run the module."""

    part = "lb_switch"
