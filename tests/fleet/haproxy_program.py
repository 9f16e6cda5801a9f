"""What programs of the tests that run on a load balancer of a fleet begin with: how they ask its HAProxy."""

from __future__ import annotations

__all__ = ["ASK", "MAP"]

MAP = "/var/lib/baton/shop/haproxy.map"
"""The file that each HAProxy starts with, which says what is live."""
ASK = """
import socket

def ask(command):
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect("/run/haproxy/admin.sock")
        asking.sendall(command.encode() + b"\\n")
        with asking.makefile() as answer:
            return answer.read()
"""
