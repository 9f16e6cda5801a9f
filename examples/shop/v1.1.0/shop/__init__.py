"""A small web shop."""

__version__ = "v1.1.0"
