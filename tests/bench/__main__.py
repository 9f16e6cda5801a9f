"""The benchmark: ``python -m tests.bench --help``."""

from __future__ import annotations

import sys
from pathlib import Path

# pytest does this too, as pyproject.toml says.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "playbooks" / "collections"))

from tests.bench.cli import main  # after the path

sys.exit(main())
