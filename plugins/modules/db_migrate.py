#!/usr/bin/python
# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The schema of the app's database at a revision, reached by the app's own migration tool."""

from __future__ import annotations

DOCUMENTATION = r"""
module: db_migrate
short_description: Bring the schema of an app's database to a revision, exactly once
version_added: "1.0.0"
author:
  - The baton.release founders (@baton-release)
description:
  - Runs the app's migrations with the app's own migration tool, and verifies where the schema is afterwards.
  - Holds an advisory lock in the database while it does so. However many hosts run this at the same time,
    the migrations run once, and the others wait and report no change.
  - The tool inherits the connection that holds the lock. When this module is killed and the tool goes on,
    the lock lasts until the tool ends, so that the next run waits instead of migrating beside it.
  - Migrations that the previous version of the app would not survive are refused unless O(allow_contract=true).
  - The password of the database is never part of a command line, and is masked in every message.
requirements:
  - psycopg >= 3.1, for O(state=upgraded) and O(state=downgraded) outside check mode
extends_documentation_fragment:
  - baton.release.attributes
  - baton.release.fence
attributes:
  check_mode:
    support: full
    details:
      - The tool is never run to change anything. The database is read when everything that this takes is there already,
        otherwise RV(known) is false.
  diff_mode:
    support: none
options:
  driver:
    description: The app's migration tool.
    type: str
    choices: [alembic]
    default: alembic
  state:
    description:
      - V(upgraded) applies everything up to O(revision).
      - V(downgraded) undoes everything that was applied on top of O(revision).
      - V(gathered) only reads.
    type: str
    choices: [upgraded, downgraded, gathered]
    default: upgraded
  revision:
    description:
      - Full identifier of the revision to reach.
      - For O(state=upgraded), the default is the only head of the tree; V(heads) means all of several heads.
      - Required for O(state=downgraded), where V(base) means to undo everything, and V(-1) the last migration.
    type: str
  project_dir:
    description: The app's release tree on this host, in which C(alembic.ini) is.
    type: path
    required: true
  python:
    description: Absolute path of the interpreter that runs the app's tool. By default, the one that runs this module.
    type: path
  user:
    description:
      - Whom the tool runs as, with the environment of that user. The tool is code of the app, which root should not run.
      - Needs this task to run as root, or as that very user. By default the tool runs as this task does.
      - It need not be able to read O(env_files), which this task reads, but it has to be able to read O(project_dir).
    type: str
  environment:
    description:
      - Environment variables for the tool, on top of O(env_files). Not the place for secrets.
    type: dict
    default: {}
  env_files:
    description:
      - Files on this host with lines of the form C(NAME="value"), in the order in which they override each other.
      - A file that does not exist is skipped and reported in RV(env_files_missing).
    type: list
    elements: path
    default: []
  database_url_variable:
    description:
      - Environment variable of the tool that holds the URL of its PostgreSQL database.
        SQLAlchemy's form C(postgresql+psycopg://) is understood.
      - The URL has to lead to the server itself, not to a pooler in transaction mode, as locks belong to sessions.
    type: str
    default: DATABASE_URL
  lock_timeout:
    description: Seconds to wait for another migration of the same database.
    type: float
    default: 60
  ddl_lock_timeout:
    description:
      - How long one statement of a migration may wait for a lock on a table before the migration fails. While it waits,
        the app's requests for that table queue up behind it.
      - Given to the tool in C(PGOPTIONS), which drivers based on libpq obey, unless the environment has a C(PGOPTIONS).
    type: str
    default: 5s
  statement_timeout:
    description:
      - How long one statement of a migration may run before it fails, such as V(10min). With V(0) as long as it takes.
      - Given to the tool as O(ddl_lock_timeout) is.
    type: str
    default: "0"
  timeout:
    description: Seconds that the tool may run. Then it is ended, and what it has not committed is rolled back.
    type: float
    default: 900
  allow_contract:
    description:
      - Also run migrations whose file says C(phase = "contract") at module level.
        The version that served before will not survive them.
      - A file that says nothing is taken for C(expand), and reported with the phase V(unmarked).
    type: bool
    default: false
  revisions:
    description: What to report as the likely plan in check mode, when the release tree or its secrets are not here yet.
    type: list
    elements: dict
    suboptions:
      revision:
        description: Identifier of the migration.
        type: str
        required: true
      description:
        description: What it does, for people.
        type: str
        default: ""
      phase:
        description: Whether the previous version survives it.
        type: str
        choices: [expand, contract, unmarked]
        default: unmarked
notes:
  - A database at a revision that the tree does not know is ahead of it. With O(state=upgraded) that is reported in
    RV(ahead) and is no failure, with O(state=downgraded) it is refused.
"""

EXAMPLES = r"""
- name: Apply the migrations of the release that was just unpacked
  baton.release.db_migrate:
    project_dir: /srv/shop/releases/v1.3.0
    python: /usr/bin/python3
    environment:
      PYTHONPATH: vendor
    env_files:
      - /etc/shop/secrets.env
    state_dir: /var/lib/baton/shop
    token: "{{ lease.token }}"

- name: Read where the schema is
  baton.release.db_migrate:
    state: gathered
    project_dir: /srv/shop/releases/v1.3.0
    env_files: [/etc/shop/secrets.env]
    state_dir: /var/lib/baton/shop
  register: schema

- name: Drop what no version uses any longer
  baton.release.db_migrate:
    allow_contract: true
    project_dir: /srv/shop/releases/v1.4.0
    env_files: [/etc/shop/secrets.env]
    state_dir: /var/lib/baton/shop
    token: "{{ lease.token }}"

- name: Undo what came after a revision, with the tree that knows it
  baton.release.db_migrate:
    state: downgraded
    revision: 4f2a90c1d3e7
    project_dir: /srv/shop/releases/v1.3.0
    env_files: [/etc/shop/secrets.env]
    state_dir: /var/lib/baton/shop
    token: "{{ lease.token }}"
"""

RETURN = r"""
known:
  description: False in check mode when something is missing on this host. The lists then hold what O(revisions) gave.
  type: bool
  returned: success
current_before:
  description: Revisions that the database was at. Empty for a database without migrations.
  type: list
  elements: str
  returned: always, when the database was read
current:
  description: Revisions that the database is at now, also after a failure.
  type: list
  elements: str
  returned: always, when the database was read
heads:
  description: The newest revisions of the tree.
  type: list
  elements: str
  returned: success
applied:
  description: Migrations that were applied, or would be in check mode, in order.
  type: list
  elements: dict
  returned: always, when the database was read
  sample: [{revision: 4f2a90c1d3e7, description: add orders.note, phase: expand}]
undone:
  description:
    - Migrations that were undone, or would be in check mode, in order.
    - Their C(down) is V(yes), or V(empty) when their way down does nothing.
  type: list
  elements: dict
  returned: always, when the database was read
pending:
  description: Migrations of the tree that are not in the database now.
  type: list
  elements: dict
  returned: success
ahead:
  description: Revisions of the database that the tree does not know.
  type: list
  elements: str
  returned: success
up_to_date:
  description: Whether the database is exactly at the tree's heads.
  type: bool
  returned: success
env_files_missing:
  description: Those of O(env_files) that do not exist.
  type: list
  elements: str
  returned: success, when the tree is there
holder:
  description: Who holds the migration lock, with C(pid), C(application_name) and C(since).
  type: dict
  returned: when the lock was not to be had
output:
  description: The last lines that the tool printed, without secrets.
  type: list
  elements: str
  returned: when the tool failed
last_attempt:
  description: What became of the last attempt on this host, when it did not end well. Empty after one that did.
  type: str
  returned: always, when the database was read
seconds:
  description: How long it took.
  type: float
  returned: success
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.fence import FENCE_OPTIONS
from ansible_collections.baton.release.plugins.module_utils.migration_drivers import DRIVERS, tool
from ansible_collections.baton.release.plugins.module_utils.migration_tool import ToolSettings
from ansible_collections.baton.release.plugins.module_utils.migrations import Wanted, migrate
from ansible_collections.baton.release.plugins.module_utils.rules import (
    FILE,
    PATH,
    SECONDS,
    SOME_SECONDS,
    VALUE,
    VARIABLE,
    refuse_unfit,
)

_REVISION = {
    "revision": {"type": "str", "required": True},
    "description": {"type": "str", "default": ""},
    "phase": {"type": "str", "choices": ["expand", "contract", "unmarked"], "default": "unmarked"},
}

RULES = {
    "state_dir": FILE,
    "project_dir": FILE,
    "python": PATH,
    "env_files": FILE,
    "database_url_variable": VARIABLE,
    "lock_timeout": SECONDS,
    "timeout": SOME_SECONDS,
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **FENCE_OPTIONS,
            "driver": {"type": "str", "choices": sorted(DRIVERS), "default": "alembic"},
            "state": {"type": "str", "choices": ["upgraded", "downgraded", "gathered"], "default": "upgraded"},
            "revision": {"type": "str"},
            "project_dir": {"type": "path", "required": True},
            "python": {"type": "path"},
            "environment": {"type": "dict", "default": {}},
            "env_files": {"type": "list", "elements": "path", "default": []},
            "database_url_variable": {"type": "str", "default": "DATABASE_URL"},
            "lock_timeout": {"type": "float", "default": 60.0},
            "ddl_lock_timeout": {"type": "str", "default": "5s"},
            "statement_timeout": {"type": "str", "default": "0"},
            "user": {"type": "str"},
            "timeout": {"type": "float", "default": 900.0},
            "allow_contract": {"type": "bool", "default": False},
            "revisions": {"type": "list", "elements": "dict", "options": _REVISION},
        },
        required_if=[("state", "downgraded", ["revision"])],
        supports_check_mode=True,
    )
    options = module.params
    try:
        refuse_unfit(options, RULES)
        environment = {name: str(value) for name, value in options["environment"].items()}
        refuse_unfit({"names of environment": list(environment)}, {"names of environment": VARIABLE})
        refuse_unfit({"environment": list(environment.values())}, {"environment": VALUE})
        settings = ToolSettings(
            project_dir=Path(options["project_dir"]),
            environment=environment,
            env_files=[Path(path) for path in options["env_files"]],
            database_url_variable=options["database_url_variable"],
            ddl_lock_timeout=options["ddl_lock_timeout"],
            statement_timeout=options["statement_timeout"],
            timeout=options["timeout"],
            user=options["user"],
        )
        result = migrate(
            make=lambda: tool(options["driver"], settings, options),
            wanted=Wanted(options["state"], options["revision"], options["allow_contract"], options["lock_timeout"]),
            likely=options["revisions"],
            state_dir=options["state_dir"],
            token=options["token"],
            check_mode=module.check_mode,
        )
    except BatonError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
