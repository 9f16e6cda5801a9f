# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The table that status.yml shows."""

from __future__ import annotations

DOCUMENTATION = r"""
name: status_table
short_description: Show in words what is live where
version_added: "1.0.0"
author:
  - The baton.release founders (@baton-release)
description:
  - Makes a table of what the load balancers, the app hosts, the state host and the database said.
options:
  _input:
    description:
      - What was found, with the keys V(balancers) and V(hosts) (host to result), V(journal) and V(schema) (a result each).
      - With V(excluded) (host to reason) the app hosts that a release leaves out, which were not asked.
      - A result without what was asked for counts as lost, and is shown so.
    type: dict
    required: true
  app_name:
    description: Name of the app.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the status
  ansible.builtin.debug:
    msg: "{{ {'balancers': {}, 'hosts': {}, 'journal': {}, 'schema': {}} | baton.release.status_table(app_name='shop') }}"
"""

RETURN = r"""
_value:
  description: The table, several lines.
  type: str
"""

import time
from typing import Any, Callable

from ansible_collections.baton.release.plugins.module_utils.answers import observed_from
from ansible_collections.baton.release.plugins.module_utils.status_text import describe_status

__all__ = ["FilterModule"]


def status_table(found: dict[str, Any], *, app_name: str) -> str:
    """Return the table for what was ``found``."""
    observed = observed_from(found["balancers"], found["hosts"], found["journal"], found.get("excluded"))
    return describe_status(observed, app_name=app_name, schema=found["schema"], now=time.time())


class FilterModule:
    """The filter, for Ansible."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Return the filter by name."""
        return {"status_table": status_table}
