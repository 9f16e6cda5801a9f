"""Sound settings of a small fleet, for tests to break."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from ansible_collections.baton.release.plugins.action.release_settings import ROLES, specs_of
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.settings import Inventory, problems_in, refuse

__all__ = ["GROUPS", "OTHERS", "SPECS", "problems_of", "refusal", "settings"]

SPECS, OTHERS = specs_of(
    ROLES, ["app", "release", "traffic", "database", "secrets", "slot", "rolling", "verify", "watch", "revert", "plan"]
)
GROUPS = {"app": ["app1", "app2"], "lb": ["lb1"], "migrator": ["app1"]}
EVERYWHERE: dict[str, Any] = {
    "app_name": "shop",
    "app_root": "/srv/shop",
    "app_command": ["bin/serve", "--port", "8000"],
    "app_environment": {"LOG_LEVEL": "info"},
    "app_artifact_url": "https://builds.example.com/shop-{version}.tar.gz",
    "app_health_deadline": 60,
    "release_version": "v1.2.0",
    "release_excluded_hosts": {},
    "slot_keep_hot": "",
    "slot_singletons": {},
    "slot_singletons_stay": 5,
    "release_sha256": "",
    "release_strategy": "blue_green",
    "release_state_host": "lb1",
    "release_state_dir": "/var/lib/baton/shop",
    "traffic_url": "http://lb1.example.com",
    "traffic_admin": "http://127.0.0.1:2019",
    "traffic_preview": {"blue": "http://127.0.0.1:8081", "green": "http://127.0.0.1:8082"},
    "traffic_steps": [],
    "traffic_share_cookie": "baton_share",
    "database_migrate": True,
    "secrets_items": {"DATABASE_URL": "shop/database"},
    "plan_action": "release",
    "plan_migrator": "app1",
    "plan_version": "v1.2.0",
    "plan_database": False,
    "rollback_database": False,
    "plan_migrate_action": "status",
    "plan_revision": "",
    "migrate_action": "status",
    "migrate_version": "",
    "migrate_revision": "",
}


def settings() -> dict[str, dict[str, Any]]:
    """Return the settings of each host, sound and with nothing shared between hosts."""
    slots = {"blue": {"port": 8001}, "green": {"port": 8002}}
    hosts = {name: deepcopy(EVERYWHERE) for name in ("app1", "app2", "lb1")}
    for name in GROUPS["app"]:
        hosts[name].update(app_slots=deepcopy(slots), app_address=name)
    return hosts


def problems_of(
    changed: dict[str, Any] | None = None,
    *,
    on: tuple[str, ...] = ("app1", "app2", "lb1"),
    groups: dict[str, list[str]] | None = None,
    names: dict[str, list[str]] | None = None,
    written: dict[int, str] | None = None,
) -> dict[str, str]:
    """Return for each setting that is complained of the lines of the message, where the settings ``changed`` are as given."""
    hosts = settings()
    for host in on:
        hosts.setdefault(host, {}).update(deepcopy(changed or {}))
    inventory = Inventory(
        groups or GROUPS,
        hosts,
        names=names or {},
        written=lambda value: (written or {}).get(value, "") if isinstance(value, int) else "",
    )
    found: dict[str, str] = {}
    for problem in problems_in(inventory, SPECS, others=OTHERS):
        line = problem.line(hosts)
        found[problem.complaint.path] = f"{found.get(problem.complaint.path, '')}{line}\n"
    return found


def refusal(**changed: Any) -> str:
    """Return the message that refuses these settings, "" where they are accepted."""
    hosts = settings()
    for host in hosts.values():
        host.update(changed)
    try:
        refuse(problems_in(Inventory(GROUPS, hosts), SPECS, others=OTHERS), list(hosts))
    except BatonError as error:
        return str(error)
    return ""
