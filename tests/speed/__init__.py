"""What makes playbooks in tests cheaper without changing what they do (``sitecustomize``)."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["CHEAPER"]

_HERE = Path(__file__).resolve().parent
CHEAPER = {
    "PYTHONPATH": os.pathsep.join(filter(None, [str(_HERE), os.environ.get("PYTHONPATH", "")])),
    "BATON_TEST_COMPILED": str(_HERE.parents[1] / ".cache" / "compiled"),
}
"""Environment variables for a playbook that a test runs."""
