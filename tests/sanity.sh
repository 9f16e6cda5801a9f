#!/usr/bin/env bash
# ansible-test wants a real directory .../ansible_collections/baton/release, so it gets what the collection's build would ship.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/.venv/bin
export PATH=$bin:$PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

ansible-galaxy collection build --force --output-path "$work" > /dev/null
ANSIBLE_COLLECTIONS_PATH=$work ansible-galaxy collection install --offline --force -p "$work" "$work"/baton-release-*.tar.gz > /dev/null
# Its environments and caches belong to this clone, not to the user's home.
export HOME=$PWD/.cache/sanity
mkdir -p "$HOME/.ansible/test/cache"
for version in 24_2 25_2; do
  cp tests/get_pip.py "$HOME/.ansible/test/cache/get_pip_$version.py"
done

cd "$work/ansible_collections/baton/release"
python=$("$bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
ansible-test sanity --local --python "$python" --color no "$@"
