"""Somebody's own playbook: some roles of the collection, some modules, and tasks of their own in between."""

from __future__ import annotations

from tests.install.installed import Installed

# Their own order and their own extra step; no preflight and no watch, and another word for the version.
RELEASE = """\
- name: Put a version into service, our way
  hosts: lb:app
  gather_facts: false
  any_errors_fatal: true
  vars:
    release_version: "{{ our_version }}"
  tasks:
    - name: Release
      block:
        - name: Plan
          ansible.builtin.include_role: {name: baton.release.plan}
        - name: Lock
          ansible.builtin.include_role: {name: baton.release.lock}
          when: plan_made.run | length > 0
        - name: Stage
          ansible.builtin.include_role: {name: baton.release.stage}
          when: "'stage' in plan_made.parts[inventory_hostname]"
        - name: A task of our own, between the steps
          ansible.builtin.copy:
            content: "{{ plan_made.plan.version }} in {{ plan_made.plan.target_slot }}"
            dest: "{{ playbook_dir }}/announced-{{ inventory_hostname }}"
            mode: "0644"
        - name: Migrate
          ansible.builtin.include_role: {name: baton.release.migrate}
          when: "'migrate' in plan_made.parts[inventory_hostname]"
        - name: Move traffic
          ansible.builtin.include_role: {name: baton.release.blue_green}
        - name: Fail where we say so
          ansible.builtin.fail: {msg: "our own check says no"}
          when: our_check_fails | default(false)
        - name: Verify
          ansible.builtin.include_role: {name: baton.release.verify}
          when: "'verify' in plan_made.parts[inventory_hostname]"
        - name: Note that every step was done
          ansible.builtin.set_fact: {conclude_settled: true}
      rescue:
        - name: Revert
          ansible.builtin.include_role: {name: baton.release.revert}
      always:
        - name: Conclude
          ansible.builtin.include_role: {name: baton.release.conclude}
"""
MODULES = """\
- name: Look at what is there, with the modules
  hosts: lb:app
  gather_facts: false
  module_defaults:
    group/baton.release.fenced:
      state_dir: "{{ release_state_dir }}"
  tasks:
    - name: The load balancer
      baton.release.lb_switch:
        state: gathered
        driver: caddy
        app_name: "{{ app_name }}"
        admin: "{{ traffic_admin }}"
        preview: "{{ traffic_preview }}"
      when: inventory_hostname in groups['lb']
      register: balancer
    - name: The hosts
      baton.release.app_slot:
        state: gathered
        app_name: "{{ app_name }}"
        app_root: "{{ app_root }}"
        runtime: supervisor
        supervisor_config: "{{ app_supervisor_config }}"
      when: inventory_hostname in groups['app']
      register: slots
    - name: The app
      baton.release.health_wait:
        endpoints: [{name: users, url: "{{ traffic_url }}/health/ready"}]
        deadline: 10
      when: inventory_hostname in groups['lb']
    - name: Say it
      ansible.builtin.debug:
        msg: "live is <{{ balancer.live }}>"
      when: inventory_hostname in groups['lb']
"""


def test_roles_alone_release(user: Installed) -> None:
    version = user.new_version()
    played = user.play(user.write("ours.yml", RELEASE), our_version=version)
    assert played.code == 0, played.output
    assert user.served()["version"] == version
    announced = {path.name.split("-")[1]: path.read_text() for path in user.project.glob("announced-*")}
    assert announced == dict.fromkeys(("app1", "app2", "app3", "lb1"), f"{version} in {user.live()}")


def test_what_fails_in_a_task_of_their_own_goes_back(user: Installed) -> None:
    before, live = user.served()["version"], user.live()
    played = user.play(user.write("ours.yml", RELEASE), our_version=user.new_version(), our_check_fails=True)
    assert played.code != 0
    assert "our own check says no" in played.output
    assert "reverted" in played.output
    assert (user.served()["version"], user.live()) == (before, live)


def test_modules_alone_with_the_defaults_of_their_groups(user: Installed) -> None:
    played = user.play(user.write("look.yml", MODULES))
    assert played.code == 0, played.output
    assert f"live is <{user.live()}>" in played.output
