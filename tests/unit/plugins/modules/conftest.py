# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What the tests of modules share."""

from __future__ import annotations

import functools

import pytest

from tests.unit.plugins.modules.db_migrate_called import Called, Run


@pytest.fixture
def run(app: Called, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs db_migrate on the ``app`` of the test in this process, and insists on how it ends."""
    return functools.partial(app.call, capsys)
