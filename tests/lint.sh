#!/usr/bin/env bash
# All linters, one after the other; the first that complains ends the run.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/.venv/bin
export PATH=$bin:$PATH

step() { printf '== %s\n' "$*"; }

step ruff
ruff check plugins tests examples
ruff format --check --quiet plugins tests examples

step mypy --strict
mypy --strict playbooks/collections/ansible_collections/baton/release/plugins tests examples

step yamllint
yamllint --strict .

step ansible-lint, profile production
ansible-lint --offline --strict -q

step "playbooks parse"
for playbook in playbooks/*.yml; do
  ansible-playbook --syntax-check -i inventories/local "$playbook" > /dev/null
done

step "documentation of every plugin"
ansible-doc --metadata-dump --no-fail-on-errors baton.release 2>&1 > /dev/null | { ! grep -E 'ERROR|WARNING.*baton'; }

step "ansible-test sanity, on what ships"
tests/sanity.sh

step "well done"
