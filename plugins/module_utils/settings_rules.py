# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""What a setting must be beyond its type: ranges and shapes, which an argument spec cannot say.

Every name here is an option of some role's argument spec, or what a playbook hands on to one. ``*`` stands for each item of a list or
each value of a dictionary.
"""

from __future__ import annotations

import typing

from ansible_collections.baton.release.plugins.module_utils.door import LONGEST_HOLD
from ansible_collections.baton.release.plugins.module_utils.rules import (
    A_DAY,
    A_WEEK,
    ADDRESS,
    ADMIN,
    APP_NAME,
    ARTIFACT,
    BASE_URL,
    BASE_URL_WITH_PATH,
    COOKIE,
    COUNT_OR_SHARE,
    DURATION_OR_NOTHING,
    FILE,
    FILE_OR_NOTHING,
    IMAGE_OR_NOTHING,
    INSIDE,
    INSIDE_OR_NOTHING,
    KEY_PATH,
    LOCK_TIME,
    ONE_LINE,
    PATH,
    PORT,
    REASON,
    RETRIES,
    REVISION_OR_NOTHING,
    SECONDS,
    SHA256_OR_NOTHING,
    SINGLETON,
    SOME_SECONDS,
    STOP_SECONDS,
    STORE_KEY,
    TAG_OR_NOTHING,
    TARGET_GROUP_OR_NOTHING,
    URL_PATH,
    USER_OR_NOTHING,
    VALUE,
    VARIABLE,
    VARIABLE_OR_NOTHING,
    Rule,
    above_zero,
    number,
    whole,
)

__all__ = ["APP_HOSTS_ONLY", "HIDDEN", "KEYS", "RULES", "SAME_EVERYWHERE", "TYPELESS", "VALUES"]

RULES: dict[str, Rule] = {
    "app_name": APP_NAME,
    "app_root": FILE,
    "app_address": ADDRESS,
    "app_slots.*.port": PORT,
    "app_command.*": VALUE,
    "app_environment.*": VALUE,
    "app_supervisor_config": FILE,
    "app_docker_image": IMAGE_OR_NOTHING,
    "app_docker_compose": INSIDE_OR_NOTHING,
    "app_docker_archive": INSIDE_OR_NOTHING,
    "app_docker_address": ADDRESS,
    "app_artifact_dir": FILE,
    "app_artifact_url": ARTIFACT,
    "app_artifact_timeout": SOME_SECONDS,
    "app_health_live_path": URL_PATH,
    "app_health_ready_path": URL_PATH,
    "app_health_version_key": KEY_PATH,
    "app_health_consecutive": whole(1, 1000),
    "app_health_min_seconds": SECONDS,
    "app_health_deadline": SOME_SECONDS,
    "app_health_interval": SOME_SECONDS,
    "app_health_probe_timeout": SOME_SECONDS,
    "app_start_timeout": SOME_SECONDS,
    "app_stop_timeout": STOP_SECONDS,
    "app_keep_releases": whole(1, 1000),
    "release_version": TAG_OR_NOTHING,
    "release_state_dir": FILE,
    "release_owner": ONE_LINE,
    "release_reason": ONE_LINE,
    "release_sha256": SHA256_OR_NOTHING,
    "release_excluded_hosts.*": REASON,
    "release_lock_ttl": whole(1, A_WEEK, " of seconds"),
    "release_lock_wait": whole(0, A_WEEK, " of seconds"),
    "slot_keep_hot": DURATION_OR_NOTHING,
    "slot_live_urls.*": BASE_URL_WITH_PATH,
    "slot_singletons.*.command": Rule(bool, "at least one word"),
    "slot_singletons.*.command.*": VALUE,
    "slot_singletons.*.stop_seconds": STOP_SECONDS,
    "slot_singletons_stay": SECONDS,
    "traffic_admin": ADMIN,
    "traffic_preview.*": BASE_URL,
    "traffic_target_groups.*": TARGET_GROUP_OR_NOTHING,
    "traffic_url": BASE_URL,
    "traffic_min_available": whole(1, 10_000),
    "traffic_wait": SECONDS,
    "traffic_steps.*": whole(1, 99, " of per cent"),
    "traffic_share_cookie": COOKIE,
    "database_directory": INSIDE,
    "database_python": FILE,
    "database_run_as": USER_OR_NOTHING,
    "database_environment.*": VALUE,
    "database_url_variable": VARIABLE,
    "database_lock_timeout": SECONDS,
    "database_ddl_lock_timeout": LOCK_TIME,
    "database_ddl_lock_retries": RETRIES,
    "database_statement_timeout": LOCK_TIME,
    "database_timeout": SOME_SECONDS,
    "database_revision": REVISION_OR_NOTHING,
    "database_rehearsal_bin": FILE_OR_NOTHING,
    "database_rehearsal_tables.*": VALUE,
    "database_rehearsal_url_variable": VARIABLE_OR_NOTHING,
    "database_rehearsal_statements_of.*": VALUE,
    "database_precheck_timeout": SOME_SECONDS,
    "database_django_manage": INSIDE_OR_NOTHING,
    "database_django_database": VARIABLE_OR_NOTHING,
    "database_knex_node": FILE_OR_NOTHING,
    "database_knex_file": INSIDE_OR_NOTHING,
    "database_liquibase_program": FILE_OR_NOTHING,
    "database_liquibase_changelog": INSIDE_OR_NOTHING,
    "database_flyway_program": FILE_OR_NOTHING,
    "database_dbmate_program": FILE_OR_NOTHING,
    "database_dbmate_directory": INSIDE_OR_NOTHING,
    "database_sqitch_program": FILE_OR_NOTHING,
    "database_sqitch_registry": VARIABLE_OR_NOTHING,
    "database_commands.*": Rule(bool, "at least one word"),
    "database_commands.*.*": VALUE,
    "secrets_items.*": STORE_KEY,
    "secrets_path": PATH,
    "verify_consecutive": whole(1, 1000),
    "verify_deadline": SOME_SECONDS,
    "verify_paths.*": URL_PATH,
    "watch_seconds": number(0, A_WEEK, " of seconds"),
    "watch_slice_seconds": SOME_SECONDS,
    "watch_step_seconds": number(0, A_WEEK, " of seconds"),
    "watch_access_log": FILE,
    "watch_probe_paths.*": URL_PATH,
    "watch_probe_rate": number(0, 50),
    "watch_probe_timeout": SOME_SECONDS,
    "watch_max_error_rate": number(0, 1),
    "watch_max_p95_ms": above_zero(1000 * A_DAY, " of milliseconds"),
    "watch_min_requests": whole(0, 1_000_000_000),
    "watch_max_slowdown": number(0, 1000),
    "traffic_drain_seconds": SECONDS,
    "revert_wait": SECONDS,
    "maintenance_hold_limit": whole(1, LONGEST_HOLD, " of seconds"),
    "maintenance_retry_after": whole(1, A_DAY, " of seconds"),
    "maintenance_drain_seconds": SECONDS,
    "release_max_surge": COUNT_OR_SHARE,
    "release_max_unavailable": COUNT_OR_SHARE,
    "rolling_drain_seconds": SECONDS,
    "plan_version": TAG_OR_NOTHING,
    "rollback_version": TAG_OR_NOTHING,
    "migrate_version": TAG_OR_NOTHING,
    "plan_revision": REVISION_OR_NOTHING,
    "migrate_revision": REVISION_OR_NOTHING,
}

KEYS: dict[str, Rule] = {
    "app_environment": VARIABLE,
    "database_environment": VARIABLE,
    "secrets_items": VARIABLE,
    "slot_singletons": SINGLETON,
}
"""The keys of dictionaries whose keys are their owner's to choose; the values are as VALUES says, or text, whatever YAML makes of them."""

VALUES: dict[str, dict[str, typing.Any]] = {
    "slot_singletons": {
        "type": "dict",
        "options": {
            "command": {"type": "list", "elements": "str", "required": True},
            "host": {"type": "str"},
            "stop_seconds": {"type": "int"},
        },
    }
}
"""What each value of such a dictionary is, which an argument spec of Ansible's cannot say."""

TYPELESS = frozenset({"release_max_surge", "release_max_unavailable"})
"""Settings of two types, of which a spec can name only one: here the rule alone decides."""

HIDDEN = ("app_environment", "app_command", "database_commands", "database_environment", "secrets_", "slot_singletons")
"""Beginnings of settings whose values are not shown, because secrets end up in them."""

APP_HOSTS_ONLY = frozenset({"app_slots", "app_address", "app_docker_address"})
"""Settings that mean nothing on other hosts, where an inventory may leave them half-made."""

SAME_EVERYWHERE = frozenset(
    {
        "app_name",
        "database_migrate",
        "maintenance_door",
        "migrate_action",
        "migrate_revision",
        "migrate_version",
        "plan_action",
        "plan_database",
        "plan_migrate_action",
        "plan_migrator",
        "plan_revision",
        "plan_version",
        "release_excluded_hosts",
        "release_sha256",
        "release_state_host",
        "release_strategy",
        "release_version",
        "slot_keep_hot",
        "slot_singletons",
        "rollback_database",
        "traffic_share_cookie",
        "traffic_steps",
    }
)
"""Settings of the run, not of a host: the plan is made once, so they may not differ between hosts."""
