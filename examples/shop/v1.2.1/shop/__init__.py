"""A small web shop."""

__version__ = "v1.2.1"
