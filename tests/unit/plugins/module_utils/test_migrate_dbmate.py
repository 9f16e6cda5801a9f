# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a file of dbmate says of itself."""

from __future__ import annotations

import pytest
from ansible_collections.baton.release.plugins.module_utils.migrate_dbmate import described


@pytest.mark.parametrize(
    ("text", "phase", "down"),
    [
        ("-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 2;\n", "unmarked", "yes"),
        ("-- phase: contract\n-- migrate:up\nSELECT 1;\n-- migrate:down\n", "contract", "empty"),
        ("--phase:expand \n-- migrate:up transaction:false\nSELECT 1;", "expand", "empty"),
        ("-- migrate:up\n-- phase: contarct\nSELECT 1;", "contarct", "empty"),
        ("-- migrate:down\n-- nothing to do\n;\n-- migrate:up\nSELECT 1;", "unmarked", "empty"),
        ("-- migrate:down transaction:false\nDROP INDEX i;\n-- migrate:up\nSELECT 1;", "unmarked", "yes"),
        ("SELECT '-- phase: contract';\n-- migrate:up", "unmarked", "empty"),
        ("-- migrate:up\r\nSELECT 1;\r\n-- phase: contract\r\n", "contract", "empty"),
    ],
)
def test_phase_and_way_down_are_read_from_the_comments(text: str, phase: str, down: str) -> None:
    found = described("20260101000001_drop_old-name.sql", text)
    assert (found.revision, found.description) == ("20260101000001", "drop old-name")
    assert (found.phase, found.down) == (phase, down)
