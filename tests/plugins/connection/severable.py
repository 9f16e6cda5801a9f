# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A local connection that a test can cut: the host is unreachable while a file with its name lies in BATON_SEVERED."""

from __future__ import annotations

DOCUMENTATION = r"""
name: severable
short_description: A local connection that a test can cut
description:
  - Runs on this machine, as the connection V(local) does, unless a file named after the host lies in the directory E(BATON_SEVERED).
options:
  severable_host:
    description: Name of the host.
    type: str
    vars:
      - name: inventory_hostname
extends_documentation_fragment:
  - connection_pipelining
"""

import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection.local import Connection as Local


class Connection(Local):  # type: ignore[misc]  # ansible-core ships no types
    """The local connection, unless it is cut."""

    transport = "severable"

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> Any:  # as inherited
        """Run the command, or find the host unreachable."""
        if (Path(os.environ["BATON_SEVERED"]) / str(self.get_option("severable_host"))).exists():
            raise AnsibleConnectionFailure("the test has cut this connection")
        return super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
