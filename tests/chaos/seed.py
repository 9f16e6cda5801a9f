"""The seed of what is chosen: ``BATON_CHAOS_SEED=7 pytest tests/chaos`` makes another choice."""

from __future__ import annotations

import os

__all__ = ["SEED"]

SEED = int(os.environ.get("BATON_CHAOS_SEED", "1"))
