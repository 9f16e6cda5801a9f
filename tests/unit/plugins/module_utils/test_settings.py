"""Each setting is judged as it stands: what is wrong is found, is named, and comes with what to do."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.baton.release.plugins.module_utils.settings_rules import KEYS, RULES, SAME_EVERYWHERE
from ansible_collections.baton.release.plugins.module_utils.settings_types import Unresolved

from tests.unit.plugins.module_utils.settings_of_a_fleet import OTHERS, SPECS, problems_of, refusal

# The setting, its value, where the problem is said to be, and words of what is said.
WRONG: list[tuple[str, Any, str, str]] = [
    # What YAML makes of versions, octal numbers, truth values and times that were not quoted.
    ("release_version", 1.1, "release_version", "1.1 (a number), expected text; to do: write it in quotes"),
    ("release_version", 8, "release_version", "write it in quotes"),
    ("release_owner", False, "release_owner", "False (a truth value), expected text; to do: write it in quotes"),
    ("release_reason", 45045, "release_reason", "12:30:45 as 45045"),
    ("release_reason", datetime.date(2024, 5, 1), "release_reason", "2024-05-01 (a date), expected text"),
    ("app_environment", {"DEBUG": True}, "app_environment.DEBUG", "a truth value, expected text"),
    ("app_environment", {True: "1"}, "app_environment", "the key True (a truth value)"),
    ("app_name", None, "app_name", "nothing (an empty YAML value), expected text; to do: give it a value"),
    # Names, versions and paths that would be more than that.
    ("release_version", "latest", "release_version", "never latest"),
    ("release_version", "../x", "release_version", "the name of a tag"),
    ("release_version", "v1;id", "release_version", "the name of a tag"),
    ("release_version", "$(id)", "release_version", "the name of a tag"),
    ("release_version", "-rf", "release_version", "the name of a tag"),
    ("release_version", "v1\n", "release_version", "the name of a tag"),
    ("release_version", "v" * 65, "release_version", "at most 64"),
    ("app_name", "Shop", "app_name", "small letters"),
    ("app_name", "shop/../x", "app_name", "small letters"),
    ("app_name", "`id`", "app_name", "small letters"),
    ("app_root", "srv/shop", "app_root", "an absolute path"),
    ("app_root", "/srv/../x", "app_root", "without . and .."),
    ("app_root", "/srv/shop\n/x", "app_root", "on one line"),
    ("app_root", "/" + "x" * 300, "app_root", "an absolute path"),
    ("release_state_dir", "", "release_state_dir", "an absolute path"),
    ("database_directory", "../other", "database_directory", "a path inside of the release"),
    ("database_directory", "/etc", "database_directory", "a path inside of the release"),
    ("database_knex_file", "../knexfile.js", "database_knex_file", "inside of the release"),
    ("database_knex_node", "node", "database_knex_node", "an absolute path"),
    ("database_liquibase_program", "liquibase", "database_liquibase_program", "an absolute path"),
    ("database_liquibase_changelog", "/db.xml", "database_liquibase_changelog", "inside of the release"),
    ("database_flyway_program", "flyway", "database_flyway_program", "an absolute path"),
    ("database_dbmate_program", "../dbmate", "database_dbmate_program", "an absolute path"),
    ("database_dbmate_directory", "/db", "database_dbmate_directory", "inside of the release"),
    ("database_django_manage", "../manage.py", "database_django_manage", "inside of the release"),
    ("database_django_database", "a b", "database_django_database", "or nothing"),
    ("migrate_revision", "a b", "migrate_revision", "the full identifier of a migration, base or -1"),
    ("migrate_action", "aply", "migrate_action", "did you mean apply?"),
    ("migrate_version", "latest", "migrate_version", "never latest"),
    ("database_revision", "--sql", "database_revision", "the full identifier of a migration"),
    ("database_run_as", "root; id", "database_run_as", "the name of a user of the system"),
    ("database_commands", {"status": []}, "database_commands.status", "at least one word"),
    ("database_commands", {"up": ["a\0b"]}, "database_commands.up[0]", "without NUL"),
    ("database_commands", {"upp": ["x"]}, "database_commands", "did you mean up?"),
    ("app_environment", {"A-B": "x"}, "app_environment", "the key 'A-B', expected the name of an environment variable"),
    ("app_environment", {"A": "x\0y"}, "app_environment.A", "without NUL"),
    ("app_command", [], "app_command", "at least one word"),
    ("app_command", "bin/serve", "app_command", "give it as JSON"),
    ("secrets_items", {"1st": "a"}, "secrets_items", "the name of an environment variable"),
    ("secrets_items", {"URL": "a\nb"}, "secrets_items.URL", "the name of a secret in the store"),
    # Addresses.
    ("traffic_url", "ftp://x", "traffic_url", "http:// or https://"),
    ("traffic_url", "http://x/", "traffic_url", "without / at its end"),
    ("traffic_url", "http://ann:pw@x", "traffic_url", "without a user"),
    ("traffic_url", "http://x:0", "traffic_url", "http:// or https://"),
    ("traffic_url", "http://x:99999", "traffic_url", "http:// or https://"),
    ("traffic_admin", "127.0.0.1:2019", "traffic_admin", "http:// or https://"),
    ("traffic_admin", "/run/../etc", "traffic_admin", "the path of a socket"),
    ("traffic_admin", "", "traffic_admin", "for aws_alb the ARN of a listener"),
    ("traffic_admin", "arn:aws:s3:::shop", "traffic_admin", "for aws_alb the ARN of a listener"),
    ("traffic_target_groups", {"blue": "a b"}, "traffic_target_groups.blue", "the name or the ARN of a target group"),
    ("traffic_target_groups", {"blu": "x"}, "traffic_target_groups", "did you mean blue?"),
    ("app_address", "http://x", "app_address", "without a port"),
    ("app_artifact_url", "shop.tar.gz", "app_artifact_url", "{version} stands for the tag"),
    ("verify_paths", ["health"], "verify_paths[0]", "a path that starts with /"),
    # Numbers and their ranges.
    ("app_keep_releases", 0, "app_keep_releases", "a whole number from 1 to 1000"),
    ("app_keep_releases", "3.5", "app_keep_releases", "a whole number"),
    ("app_keep_releases", True, "app_keep_releases", "True (a truth value), expected a whole number"),
    ("app_keep_releases", "010", "app_keep_releases", "a whole number"),
    ("app_keep_releases", 10**400, "app_keep_releases", "a huge number"),
    ("traffic_steps", [0, 5], "traffic_steps[0]", "a whole number of per cent from 1 to 99"),
    ("traffic_steps", [5, 100], "traffic_steps[1]", "from 1 to 99"),
    ("traffic_steps", [5, 2.5], "traffic_steps[1]", "a whole number"),
    ("traffic_steps", ["5%"], "traffic_steps[0]", "a whole number"),
    ("traffic_steps", 5, "traffic_steps", "a list"),
    ("traffic_share_cookie", "a b", "traffic_share_cookie", "the name of a cookie"),
    ("traffic_share_cookie", "a}", "traffic_share_cookie", "the name of a cookie"),
    ("watch_step_seconds", -1, "watch_step_seconds", "from 0 to 604800"),
    ("watch_max_slowdown", "twice", "watch_max_slowdown", "a number"),
    ("watch_seconds", float("nan"), "watch_seconds", "a finite number"),
    ("watch_seconds", -1, "watch_seconds", "from 0 to 604800"),
    ("watch_seconds", "soon", "watch_seconds", "'soon' (text), expected a number"),
    ("watch_slice_seconds", 0, "watch_slice_seconds", "above 0"),
    ("watch_max_error_rate", 5, "watch_max_error_rate", "from 0 to 1"),
    ("app_slots", {"blue": {"port": 70000}, "green": {"port": 1}}, "app_slots.blue.port", "from 1 to 65535"),
    ("release_max_surge", "-1", "release_max_surge", "a share of them such as 25%"),
    ("release_max_surge", "120%", "release_max_surge", "a share of them such as 25%"),
    ("release_max_unavailable", 1.5, "release_max_unavailable", "a count of hosts such as 1"),
    ("database_ddl_lock_timeout", "5", "database_ddl_lock_timeout", "with its unit"),
    ("database_statement_timeout", "5", "database_statement_timeout", "with its unit"),
    ("release_sha256", "abc", "release_sha256", "64 hexadecimal digits"),
    # Choices and keys.
    ("release_strategy", "blue-green", "release_strategy", "did you mean blue_green?"),
    ("release_strategy", "canary", "release_strategy", "expected one of blue_green, rolling"),
    ("database_driver", "knexx", "database_driver", "did you mean knex?"),
    ("database_migrate", "maybe", "database_migrate", "true or false"),
    ("app_slots", {"blue": {"port": 1}, "gren": {"port": 2}}, "app_slots", "unknown key 'gren'"),
    ("app_slots", {"blue": {"port": 1}, "gren": {"port": 2}}, "app_slots", "did you mean green?"),
    ("app_slots", {"blue": {"port": 1}}, "app_slots.green", "nothing, expected a dictionary; to do: add it"),
    ("traffic_preview", {"blue": "http://x:1"}, "traffic_preview.green", "add it"),
    ("traffic_wait", Unresolved("'nope' is undefined"), "traffic_wait", "'nope' is undefined"),
]


@pytest.mark.parametrize(
    ("name", "value", "path", "said"), WRONG, ids=[f"{number} {name}" for number, (name, *_) in enumerate(WRONG)]
)
def test_what_is_wrong_is_said(name: str, value: Any, path: str, said: str) -> None:
    found = problems_of({name: value})
    assert said in found.get(path, ""), found
    assert "to do: " in found[path]


def test_sound_settings_are_accepted() -> None:
    assert problems_of() == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("app_keep_releases", "5"),
        ("watch_seconds", "0.5"),
        ("traffic_steps", ["5", "25"]),
        ("database_migrate", "no"),
        ("release_version", "1.10"),
        ("release_version", "010"),
        ("release_version", ""),
        ("release_max_surge", 2),
        ("release_max_surge", "25%"),
        ("app_environment", {"SAYS": "$(id) `id` {{ id }} ; | & \\ \" '"}),
        ("app_command", ["sh", "-c", "exec x; y"]),
        ("traffic_url", "http://[::1]:8080"),
        ("app_artifact_url", "file:///builds/shop-{version}.tar.gz"),
        ("release_reason", "café — 5 %"),
    ],
)
def test_what_a_command_line_or_a_person_may_well_write_is_accepted(name: str, value: Any) -> None:
    assert problems_of({name: value}) == {}


def test_a_setting_that_is_needed_is_missed() -> None:
    needed = {name for name, option in SPECS.items() if option.get("required")}
    assert needed
    found = problems_of(groups={"app": ["new"], "lb": ["lb1"], "migrator": []}, changed={}, on=("new",))
    assert needed <= set(found) | {"plan_action"}
    assert "set it in the inventory" in found["app_name"]


def test_all_that_is_wrong_is_said_at_once_and_once_for_all_hosts() -> None:
    message = refusal(app_root="x", watch_seconds=-1, release_strategy="both")
    lines = message.splitlines()
    assert "3 settings of this run" in lines[0]
    assert "nothing was touched" in lines[0]
    assert len(lines) == 4
    assert all(" on app1" not in line for line in lines)


def test_what_is_wrong_on_one_host_names_it() -> None:
    found = problems_of({"app_root": "x"}, on=("app2",))
    assert found["app_root"].startswith("app_root on app2: found 'x'")


@pytest.mark.parametrize("name", sorted(SAME_EVERYWHERE & set(SPECS)))
def test_the_plan_is_made_once_so_its_settings_are_the_same_everywhere(name: str) -> None:
    value: Any = {
        "database_migrate": False,
        "migrate_action": "apply",
        "plan_action": "rollback",
        "plan_database": True,
        "rollback_database": True,
        "plan_migrate_action": "test",
        "release_excluded_hosts": {"app2": "its disk is broken"},
        "release_sha256": "0" * 64,
        "release_strategy": "rolling",
        "slot_keep_hot": "1h",
        "slot_singletons": {"mailer": {"command": ["bin/mailer"]}},
        "traffic_steps": [5],
    }.get(name, "app2")
    found = problems_of({name: value}, on=("app2",))
    assert any("the same on every host" in text for text in found.values()), found


def test_secrets_are_never_shown() -> None:
    secret = "hunter2-hunter2"  # noqa: S105 - that it is not shown is the test
    message = refusal(
        app_environment={"TOKEN": 5, "A-B": secret, "URL": f"{secret}\0"},
        app_command=[f"{secret}\0"],
        database_environment={"PGPASSWORD": [secret]},
        secrets_items=[secret],
        traffic_url=f"http://ann:{secret}@x",
        secrets_path=f"{secret}\n",
    )
    assert message.count("\n- ") >= 6
    assert secret not in message


def test_a_message_cannot_be_forged_by_a_value() -> None:
    message = refusal(release_reason="x\n- app_root: all is well\x1b[2J" + "y" * 500)
    assert message.count("\n") == 1
    assert "\x1b" not in message
    assert len(message) < 700


def test_numbers_that_yaml_misreads_are_told() -> None:
    found = problems_of({"app_keep_releases": 8, "release_lock_ttl": 750}, written={8: "010", 750: "12:30"})
    assert "found 010, which YAML reads as 8" in found["app_keep_releases"]
    assert "found 12:30, which YAML reads as 750" in found["release_lock_ttl"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("relase_version", "release_version"),
        ("app_slot", "app_slots"),
        ("watch_second", "watch_seconds"),
        ("rollback_versions", "rollback_version"),
        ("release_maxsurge", "release_max_surge"),
    ],
)
def test_a_name_that_is_nearly_one_of_ours_is_a_slip(name: str, meant: str) -> None:
    found = problems_of(names={"app1": [name]})
    assert f"did you mean {meant}?" in found[name]


@pytest.mark.parametrize("name", ["app_port", "release_notes", "database_url", "my_shop", "traffic_light", "watch"])
def test_a_name_of_ones_own_is_left_alone(name: str) -> None:
    assert problems_of(names={"app1": [name]}) == {}


def test_every_rule_is_for_a_setting_that_there_is() -> None:
    # rollback_version is what the playbook calls plan_version.
    assert {pattern.split(".")[0] for pattern in (*RULES, *KEYS)} - {*SPECS, *OTHERS} == set()
