#!/usr/bin/python
# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Documentation of the action release_plan, which runs on the controller only."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_plan
short_description: Decide what a release, a rollback or a migration has to do
version_added: "1.0.0"
author:
  - The baton.release founders (@baton-release)
description:
  - Decides from what the load balancers, the app hosts and the journal said which slot the version comes to, by which steps, and
    how to come back. It refuses with the reason where that cannot be done safely.
  - Runs on the controller and asks no host.
extends_documentation_fragment:
  - baton.release.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  action:
    description: What is wanted. With V(migrate) no traffic moves, and the tree of a version on the migrator is what counts.
    type: str
    choices: [release, rollback, migrate]
    default: release
  app_name:
    description: Name of the app.
    type: str
    required: true
  version:
    description: The version; for a rollback without one it is the version that was live before, for a migration the one that is live.
    type: str
    default: ""
  strategy:
    description: How the version comes to traffic.
    type: str
    choices: [blue_green, rolling]
    default: blue_green
  max_surge:
    description: For O(strategy=rolling) how many app hosts may run both versions at once while they change, a count or a percentage.
    type: str
    default: "1"
  max_unavailable:
    description:
      - For O(strategy=rolling) how many app hosts may be out of the pool, a count or a percentage.
      - With O(max_surge=0) each host is drained, and its old version stopped, before the new one starts there.
    type: str
    default: "0"
  traffic_steps:
    description:
      - For O(strategy=blue_green) the per cents of the clients that reach the version one after the other before all of them do, each
        larger than the one before. Empty for all at once, as it is in a rollback in any case.
    type: list
    elements: int
    default: []
  migrator:
    description: The app host that migrates the schema; empty for no migration.
    type: str
    default: ""
  state_host:
    description: The host that keeps the lock and the journal.
    type: str
    required: true
  play_hosts:
    description: All hosts of the run; the groups app and lb must be in it as a whole.
    type: list
    elements: str
    required: true
  balancers:
    description: For each load balancer's host the result of M(baton.release.lb_switch); one without V(live) counts as lost.
    type: dict
    required: true
  hosts:
    description: For each app host the result of M(baton.release.app_slot); one without V(slots) counts as lost.
    type: dict
    required: true
  journal:
    description: The result of M(baton.release.release_journal); one without V(runs) counts as lost.
    type: dict
    required: true
  excluded:
    description: The app hosts that the run leaves out, with the reason; they count for nothing in O(hosts).
    type: dict
    default: {}
  keep_hot:
    description: How long the version before stays hot, such as V(1h); only for the text of the plan.
    type: str
    default: ""
  manifest_dir:
    description: Directory on the controller in which the builds and their manifests are.
    type: path
  sha256:
    description: SHA-256 of the artifact, where there is no manifest.
    type: str
    default: ""
  over_unverified:
    description: Whether the last proven version may be replaced while what is live was never proven.
    type: bool
    default: false
  past_contract:
    description: Whether a rollback may go past a schema change that the version does not survive.
    type: bool
    default: false
  migrate_action:
    description:
      - For O(action=migrate) what to do with the schema.
      - V(status) reads it, and V(test) rehearses what is pending in a shadow of it. V(apply) and V(rollback) change it, for which every
        load balancer and app host has to answer, and one version has to be live.
    type: str
    choices: [status, test, apply, rollback]
    default: status
  revision:
    description: For O(action=migrate) the revision to go to; required for O(migrate_action=rollback).
    type: str
    default: ""
  database:
    description:
      - Whether a rollback takes the schema back too. It is planned in two calls, with and without O(schema), because the first one says
        which version it comes to.
    type: bool
    default: false
  schema:
    description:
      - What has to be undone for that version, V(undone) as M(baton.release.db_migrate) returns it, the revisions that it was made for,
        V(keep), and those that the other tree has and the database has not, V(missing).
    type: dict
    default: {}
  singletons:
    description:
      - The processes beside the app of which at most one may run anywhere, as the setting C(slot_singletons) has them. For a rollback to a
        slot that still runs what counts is what that slot had.
    type: dict
    default: {}
  step_notes:
    description: What the text says of some steps, step to text; shown where the plan has the step.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Decide
  baton.release.release_plan:
    app_name: shop
    version: v1.1.0
    state_host: app1
    play_hosts: "{{ ansible_play_hosts_all }}"
    migrator: app1
    balancers: {lb1: "{{ balancer }}"}
    hosts: {app1: "{{ app1 }}", app2: "{{ app2 }}"}
    journal: "{{ journal }}"
    manifest_dir: dist
  register: decided
"""

RETURN = r"""
plan:
  description: The decision, with the mode, the steps, the slots and versions, and what each load balancer must have live.
  returned: success
  type: dict
run:
  description: The steps to run now under the lease; none in check mode, and none where nothing is changed.
  returned: success
  type: list
  elements: str
parts:
  description: For each host the steps that it takes part in.
  returned: success
  type: dict
text:
  description: The plan in words.
  returned: success
  type: str
"""
