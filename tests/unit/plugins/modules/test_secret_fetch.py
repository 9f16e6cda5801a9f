"""The module's part: the fence, the result, and what is masked in it."""

from __future__ import annotations

import json
import stat
import typing

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baton.release.plugins.module_utils import envfile
from ansible_collections.baton.release.plugins.modules import secret_fetch

if typing.TYPE_CHECKING:
    from pathlib import Path

Result = dict[str, typing.Any]


@pytest.fixture(name="dest")
def _dest(tmp_path: Path) -> Path:
    return tmp_path / "secrets.env"


@pytest.fixture(name="run")
def _run(capsys: pytest.CaptureFixture[str], dest: Path) -> typing.Callable[..., Result]:
    def run(*, check_mode: bool = False, **options: typing.Any) -> Result:
        arguments = {"store": "env", "dest": str(dest), "secrets": {"A": "SHOP_A"}, **options}
        with patch_module_args({**arguments, "_ansible_check_mode": check_mode}), pytest.raises(SystemExit):
            secret_fetch.main()
        result: Result = json.loads(capsys.readouterr().out)
        return result

    return run


def test_values_from_the_controller(run: typing.Callable[..., Result], dest: Path) -> None:
    result = run(values={"A": "hunter-22-hunter"})
    assert (result["changed"], result["dest"], result["names"]) == (True, str(dest), ["A"])
    assert result["diff"] == {"prepared": "+ A\n"}
    assert "hunter" not in json.dumps(result)
    assert "values" not in result.get("invocation", {"module_args": {}})["module_args"]
    assert envfile.parse(dest.read_text()) == {"A": "hunter-22-hunter"}
    assert stat.S_IMODE(dest.stat().st_mode) == 0o600
    assert not run(values={"A": "hunter-22-hunter"})["changed"]


def test_the_system_log_shows_no_value(run: typing.Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(basic, "has_journal", False)
    monkeypatch.setattr(basic.syslog, "syslog", lambda _, line: logged.append(line))
    run(values={"A": "hunter-22-hunter"}, _ansible_syslog_facility="LOG_USER")
    assert "SHOP_A" in logged[0]
    assert "hunter" not in str(logged)


def test_the_environment_of_the_module(
    run: typing.Callable[..., Result], dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = run()
    assert missing["failed"]
    assert missing["missing"] == ["A"]
    assert "the environment of the managed host lacks SHOP_A (for A)" in missing["msg"]
    assert not dest.exists()
    monkeypatch.setenv("SHOP_A", "hunter-22-hunter")
    result = run()
    assert result["changed"]
    assert "hunter" not in json.dumps(result)


def test_a_file_on_the_managed_host(run: typing.Callable[..., Result], dest: Path, tmp_path: Path) -> None:
    store = tmp_path / "shop.json"
    store.write_text('{"SHOP_A": "hunter-22-hunter"}')
    store.chmod(0o644)
    assert f"chmod 600 {store}" in run(store="file", path=str(store))["msg"]
    store.chmod(0o600)
    result = run(store="file", path=str(store))
    assert result["changed"]
    assert "hunter" not in json.dumps(result)
    assert envfile.parse(dest.read_text()) == {"A": "hunter-22-hunter"}


@pytest.mark.parametrize("value", ["1", "true", "True", "A", "secrets", "/", "e", "secrets.env"])
def test_values_that_look_like_something_else_do_not_spoil_the_result(
    run: typing.Callable[..., Result], dest: Path, value: str
) -> None:
    first = run(values={"A": value})
    assert (first["changed"], first["dest"], first["names"]) == (True, str(dest), ["A"])
    assert not run(values={"A": value})["changed"]
    dest.unlink()
    dest.mkdir()
    assert f"Found: a directory at {dest}. Expected: a regular file" in run(values={"A": value})["msg"]


def test_check_mode(run: typing.Callable[..., Result], tmp_path: Path) -> None:
    result = run(values={"A": "1"}, state_dir=str(tmp_path / "state"), token=1, check_mode=True)
    assert result["changed"]
    assert list(tmp_path.iterdir()) == []
    assert run(check_mode=True)["missing"] == ["A"]


def test_the_fence(run: typing.Callable[..., Result], dest: Path, tmp_path: Path) -> None:
    state = {"state_dir": str(tmp_path / "state")}
    assert run(values={"A": "1"}, token=7, **state)["changed"]
    for check_mode in (True, False):
        late = run(values={"A": "2"}, token=6, check_mode=check_mode, **state)
        assert late["failed"]
        assert late["newest_token"] == 7
    assert envfile.parse(dest.read_text()) == {"A": "1"}
    assert run(values={"A": "2"}, token=8, **state)["changed"]
    assert run(values={"A": "3"}, **state)["changed"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"token": 7}, "state_dir"),
        ({"store": "file"}, "path"),
        ({"store": "vault"}, "must be one of: env, file"),
        ({"secrets": "hunter22"}, "secrets"),
        ({"secrets": {"A-B": "SHOP_A"}, "values": {"A-B": "hunter22"}}, "names 'A-B'"),
        ({"values": {"A": "hunter22\0"}}, "a NUL, bytes that are not UTF-8 or Unicode noncharacters in A"),
    ],
)
def test_options_that_do_not_fit(run: typing.Callable[..., Result], dest: Path, options: Result, said: str) -> None:
    result = run(**options)
    assert result["failed"]
    assert "exception" not in result
    assert said in result["msg"]
    assert not dest.exists()
