# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What each module says about check mode, diff mode and the action group."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes of the modules; each module adds its C(support) for check and diff mode."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Can run without changing anything and say what it would change.
  diff_mode:
    description: Returns the difference that was or would be made.
  action_group:
    description: Use C(group/baton.release.release) in C(module_defaults) to set options for all modules of the release.
    support: full
    membership:
      - baton.release.release
"""
