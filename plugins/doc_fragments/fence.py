# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Documentation of the options that ``module_utils.fence`` reads."""

from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that changes something on behalf of a lease."""

    DOCUMENTATION = r"""
options:
  state_dir:
    description:
      - Directory on this host in which the collection keeps what it knows of this application.
    type: path
    required: true
  token:
    description:
      - Token of the lease this change is made under, as M(baton.release.release_lock) returned it.
      - A host that has seen a newer token refuses the change. Without a token nothing is compared.
    type: int
"""
