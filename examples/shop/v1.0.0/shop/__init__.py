"""A small web shop."""

__version__ = "v1.0.0"
