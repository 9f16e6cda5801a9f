"""The connections that the kernel lists, with real ones: to whom, by whom, and in which state."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.connections import open_connections

NAME = Path("/proc/self/comm").read_text().strip()
KEEP = """
import os, socket, sys
os.setuid(65534)
kept = socket.socket()
kept.connect((sys.argv[1], int(sys.argv[2])))
print(flush=True)
input()
"""


def test_a_connection_counts_from_its_beginning_to_the_end_of_either_side() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = f"127.0.0.1:{listener.getsockname()[1]}"
        assert open_connections(os.getpid(), NAME, [server]) == {server: 0}
        first, second = (socket.create_connection(listener.getsockname()) for _ in range(2))
        # Also while the server has not taken it, and not its own end of it.
        assert open_connections(os.getpid(), NAME, [server, "127.0.0.1:1"]) == {server: 2, "127.0.0.1:1": 0}
        first.close()
        assert open_connections(os.getpid(), NAME, [server]) == {server: 1}
        accepted = [listener.accept()[0] for _ in range(2)]
        accepted[1].close()
        assert open_connections(os.getpid(), NAME, [server]) == {server: 0}
        second.close()
        accepted[0].close()


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6 on this machine")
def test_names_and_ipv6_are_known_by_their_addresses() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("::1", port)):
            assert open_connections(os.getpid(), NAME, [f"[::1]:{port}"]) == {f"[::1]:{port}": 1}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # To an IPv4 address through a socket of IPv6.
        with socket.socket(socket.AF_INET6) as client:
            client.connect(("::ffff:127.0.0.1", port))
            assert open_connections(os.getpid(), NAME, [f"localhost:{port}"]) == {f"localhost:{port}": 1}


def test_of_a_process_that_is_not_there_or_is_another_program_nothing_is_known() -> None:
    assert open_connections(os.getpid(), "nginx", ["127.0.0.1:1"]) is None
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert open_connections(ended.pid, NAME, ["127.0.0.1:1"]) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have a process of somebody else")
def test_a_connection_of_somebody_else_does_not_count() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        command = [sys.executable, "-c", KEEP, host, str(port)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            assert other.stdout.readline()
            assert open_connections(os.getpid(), NAME, [f"{host}:{port}"]) == {f"{host}:{port}": 0}
            theirs = open_connections(
                other.pid, Path(f"/proc/{other.pid}/comm").read_text().strip(), [f"{host}:{port}"]
            )
            assert theirs == {f"{host}:{port}": 1}
            other.communicate(b"\n")
