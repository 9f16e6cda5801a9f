"""Where an app host asks a load balancer what is live, if nobody says it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

DEFAULTS = Path(__file__).resolve().parents[2] / "roles" / "slot" / "defaults" / "main.yml"


@pytest.mark.parametrize(
    ("balancer", "more", "expected"),
    [
        ({"traffic_url": "http://127.0.0.1:80"}, {}, "http://lb1:80/health/ready"),
        ({"traffic_url": "http://127.0.0.1"}, {}, "http://lb1/health/ready"),
        (
            {"traffic_url": "https://localhost:8443/shop", "ansible_host": "10.0.0.9"},
            {},
            "https://10.0.0.9:8443/shop/health/ready",
        ),
        ({"traffic_url": "http://[::1]:80"}, {}, "http://lb1:80/health/ready"),
        ({}, {"traffic_url": "http://127.0.0.1:8080"}, "http://lb1:8080/health/ready"),
        ({"traffic_url": "http://127.0.0.1:80", "ansible_connection": "local"}, {}, "http://127.0.0.1:80/health/ready"),
        (
            {"traffic_url": "https://shop.example.com"},
            {"traffic_driver": "aws_alb"},
            "https://shop.example.com/health/ready",
        ),
    ],
)  # fmt: skip - one row, one line
def test_the_address_that_users_ask(balancer: dict[str, Any], more: dict[str, Any], expected: str) -> None:
    loader = DataLoader()
    variables = {
        **loader.load_from_file(str(DEFAULTS), trusted_as_template=True),
        "groups": {"lb": ["lb1"]},
        "hostvars": {"lb1": balancer},
        "app_health_ready_path": "/health/ready",
        "traffic_driver": "haproxy",
        **more,
    }
    assert Templar(loader=loader, variables=variables).template(variables["slot_live_urls"]) == [expected]
