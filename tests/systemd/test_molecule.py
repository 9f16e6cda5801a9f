"""The roles that make hosts ready, each alone: in check mode, for real, again, and what they have made."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fleet.hosts import Fleet

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml") if path.parent.name != "default")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_role_alone(fleet: Fleet, scenario: str, tmp_path: Path) -> None:
    bin_directory = Path(sys.executable).parent
    variables = {
        "PATH": f"{bin_directory}{os.pathsep}{os.environ['PATH']}",
        "BATON_FLEET_INVENTORY": str(fleet.inventory),
        "MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path),
    }
    done = subprocess.run(
        [str(bin_directory / "molecule"), "test", "--scenario-name", scenario],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    assert done.returncode == 0, said
    for step in ("check", "converge", "idempotence", "verify"):
        assert f"{scenario} ➜ {step}: Executed: Successful" in said, said
