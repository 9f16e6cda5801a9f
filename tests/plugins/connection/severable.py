# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""A local connection that a test can cut: the host is unreachable while a file with its name lies in BATON_SEVERED."""

from __future__ import annotations

DOCUMENTATION = r"""
name: severable
short_description: A local connection that a test can cut
description:
  - Runs on this machine, as the connection V(local) does, unless a file named after the host lies in the directory E(BATON_SEVERED).
  - Appends the name of the host to the file E(BATON_STARTED) for each module that is started there.
  - With the address of a warm Python in E(BATON_TEST_WARM), modules run as forks of it.
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
import selectors
import shlex
import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection.local import Connection as Local

from tests.speed import warm_python


class Connection(Local):  # type: ignore[misc]  # ansible-core ships no types
    """The local connection, unless it is cut."""

    transport = "severable"

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> Any:  # as inherited
        """Run the command, or find the host unreachable."""
        if (Path(os.environ["BATON_SEVERED"]) / str(self.get_option("severable_host"))).exists():
            raise AnsibleConnectionFailure("the test has cut this connection")
        if "BATON_STARTED" in os.environ and in_data:
            with Path(os.environ["BATON_STARTED"]).open("a") as stream:
                stream.write(f"{self.get_option('severable_host')}\n")
        warm = os.environ.get("BATON_TEST_WARM")
        if warm and in_data and cmd == shlex.join(["/bin/sh", "-c", f"{sys.executable} && sleep 0"]):
            return _warmly(warm, in_data)
        return super().exec_command(cmd, in_data=in_data, sudoable=sudoable)


def _warmly(address: str, script: bytes) -> tuple[int, bytes, bytes]:
    readers, writers = zip(os.pipe(), os.pipe(), strict=True)
    asking = warm_python.run(address, script, writers)
    for writer in writers:
        os.close(writer)
    outputs: dict[int, list[bytes]] = {reader: [] for reader in readers}
    with selectors.DefaultSelector() as selector:
        for reader in readers:
            selector.register(reader, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                read = os.read(key.fd, 65536)
                outputs[key.fd].append(read)
                if not read:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    out, err = (b"".join(output) for output in outputs.values())
    return warm_python.ended(asking), out, err
