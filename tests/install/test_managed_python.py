"""The oldest Python that a managed host may have: every module is imported by it, and a release runs with it."""

from __future__ import annotations

import json
import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.install.installed import NAMESPACE, Installed
from tests.interpreters import find

OLDEST = "3.9"
PYTHON = find(OLDEST)
pytestmark = pytest.mark.skipif(
    PYTHON is None,
    reason=f"no Python {OLDEST} on PATH or in pyenv; house.too_new_for_managed_hosts still reads the syntax",
)
# Everything that a host may get, imported one after the other; what cannot be is named.
IMPORT_ALL = """\
import importlib, json, pathlib, sys, traceback
plugins = pathlib.Path(sys.argv[1], "ansible_collections", "baton", "release", "plugins")
failed, imported = {}, []
for path in sorted([*plugins.glob("modules/*.py"), *plugins.glob("module_utils/*.py")]):
    name = f"ansible_collections.baton.release.plugins.{path.parent.name}.{path.stem}"
    try:
        importlib.import_module(name)
        imported.append(path.stem)
    except Exception:
        failed[name] = traceback.format_exc()
print(json.dumps({"python": sys.version_info[:2], "imported": imported, "failed": failed}))
"""


def test_every_module_and_utility_is_imported(collections: Path, tmp_path: Path) -> None:
    ansible = find_spec("ansible")
    assert ansible is not None
    assert ansible.origin is not None
    # Of Ansible only the part that a module brings along: no package of the controller may be needed.
    (tmp_path / "ansible").mkdir()
    (tmp_path / "ansible" / "__init__.py").touch()
    (tmp_path / "ansible" / "module_utils").symlink_to(Path(ansible.origin).parent / "module_utils")
    environment = {"PATH": os.defpath, "PYTHONPATH": f"{tmp_path}:{collections}", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [str(PYTHON), "-c", IMPORT_ALL, str(collections)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer["failed"] == {}
    assert answer["python"] == [int(part) for part in OLDEST.split(".")]
    plugins = collections.joinpath(*NAMESPACE, "plugins")
    files = [*plugins.glob("modules/*.py"), *plugins.glob("module_utils/*.py")]
    assert sorted(answer["imported"]) == sorted(path.stem for path in files)


def test_a_release_runs_on_hosts_that_have_it(user: Installed) -> None:
    """All hosts but the migrator, app1: db_migrate also needs psycopg, which this Python does not have."""
    hosts: dict[str, dict[str, str]] = {"lb1": {}, "app2": {}, "app3": {}}
    variables = {"ansible_python_interpreter": str(PYTHON)}
    overlay = user.write("oldest.yml", json.dumps({"old": {"hosts": hosts, "vars": variables}}))
    version = user.new_version()
    # Each file that a module leaves behind names the Python that wrote it nowhere, so the output has to.
    played = user.play("release", "-i", overlay, "-vvv", release_version=version)
    assert played.code == 0, played.output
    assert user.served()["version"] == version
    for host in hosts:
        assert f"<{host}> EXEC" in played.output
        assert any(f"<{host}> EXEC" in line and str(PYTHON) in line for line in played.output.splitlines()), host
