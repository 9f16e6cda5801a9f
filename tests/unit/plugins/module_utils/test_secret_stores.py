"""Stores give all secrets or say which are missing, and no error shows a value."""

from __future__ import annotations

import json
import os
import typing

import pytest
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.secret_stores import STORES, fetch

if typing.TYPE_CHECKING:
    from pathlib import Path

SECRETS: dict[str, object] = {"DATABASE_URL": "SHOP_DB", "JWT_SECRET": "SHOP_JWT"}


def private(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(0o600)
    return str(path)


def fetch_file(path: str, secrets: typing.Mapping[str, object] = SECRETS) -> dict[str, str]:
    return fetch(secrets, store="file", path=path, host="app1")


def test_env(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DB", "postgresql://db")
    monkeypatch.setenv("SHOP_JWT", "")
    found = fetch(SECRETS, store="env", path=None, host="app1")
    assert found == {"DATABASE_URL": "postgresql://db", "JWT_SECRET": ""}


def test_one_value_may_have_two_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DB", "x")
    assert fetch({"A": "SHOP_DB", "B": "SHOP_DB"}, store="env", path=None, host="app1") == {"A": "x", "B": "x"}


def test_all_missing_ones_are_named_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SHOP_OTHER", "hunter22")
    secrets: dict[str, object] = {**SECRETS, "OTHER": "SHOP_OTHER"}
    with pytest.raises(BatonError) as refusal:
        fetch(secrets, store="env", path=None, host="the controller")
    said = "the environment of the controller lacks SHOP_DB (for DATABASE_URL), SHOP_JWT (for JWT_SECRET)."
    assert said in str(refusal.value)
    assert refusal.value.details == {"missing": ["DATABASE_URL", "JWT_SECRET"]}
    assert "hunter22" not in repr(refusal.value.as_result())
    path = private(tmp_path / "shop.json", '{"SHOP_OTHER": "hunter22"}')
    with pytest.raises(BatonError) as refusal:
        fetch_file(path, secrets)
    assert f"{path} on app1 lacks SHOP_DB (for DATABASE_URL), SHOP_JWT (for JWT_SECRET)." in str(refusal.value)
    assert "hunter22" not in repr(refusal.value.as_result())


@pytest.mark.parametrize("key", [None, "", 4711, True, ["hunter22"], {"hunter22": "x"}])
@pytest.mark.parametrize("store", STORES)
def test_keys_are_texts(key: object, store: str) -> None:
    with pytest.raises(BatonError) as refusal:
        fetch({"PIN": key, "PIN2": key, "FINE": "PATH"}, store=store, path=None, host="app1")
    assert "no key for PIN, PIN2." in str(refusal.value)
    assert "hunter22" not in str(refusal.value)
    assert "4711" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("shop.json", json.dumps({"SHOP_DB": "a\n$b", "SHOP_JWT": "\u00e9", "MORE": 1})),
        ("shop", '\n {"SHOP_DB": "a\\n$b", "SHOP_JWT": "\u00e9", "MORE": [1]}'),
        ("shop.env", "# ours\nSHOP_DB=\"a\n\\$b\"\nSHOP_JWT='\u00e9'\nMORE=1\n"),
        ("shop", 'SHOP_DB="a\n\\$b"\nSHOP_JWT="\u00e9"'),
    ],
)
def test_files(tmp_path: Path, name: str, content: str) -> None:
    assert fetch_file(private(tmp_path / name, content)) == {"DATABASE_URL": "a\n$b", "JWT_SECRET": "\u00e9"}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o644, 0o660, 0o777])
def test_a_file_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "shop.json", '{"SHOP_DB": "hunter22"}')
    os.chmod(path, mode)  # noqa: PTH101 - the path is a text here, as in the option
    with pytest.raises(BatonError) as refusal:
        fetch_file(path)
    assert f"with mode {mode:04o}. " in str(refusal.value)
    assert f"chmod 600 {path}" in str(refusal.value)


def test_a_file_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = private(tmp_path / "shop.json", '{"SHOP_DB": "hunter22", "SHOP_JWT": "x"}')
    owner = os.stat(path).st_uid  # noqa: PTH116 - the path is a text here, as in the option
    real = os.fstat

    def of_user_4711(descriptor: int) -> os.stat_result:
        return os.stat_result((*real(descriptor)[:4], 4711, *real(descriptor)[5:10]))

    def of_root(descriptor: int) -> os.stat_result:
        return os.stat_result((*real(descriptor)[:4], 0, *real(descriptor)[5:10]))

    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    monkeypatch.setattr(os, "fstat", of_user_4711)
    with pytest.raises(BatonError, match="belongs to user 4711"):
        fetch_file(path)
    monkeypatch.setattr(os, "fstat", of_root)
    assert fetch_file(path).keys() == SECRETS.keys()


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("shop.json", "hunter22", "holds no JSON object"),
        ("shop.json", '["hunter22"]', "holds no JSON object"),
        ("shop.json", '{"SHOP_DB": "hunter22",}', "holds no JSON object"),
        ("shop.json", "[" * 100_000, "holds no JSON object"),
        ("shop", '{"SHOP_DB": hunter22}', "holds no JSON object"),
        ("shop.json", "", "holds no JSON object"),
        ("shop.env", "hunter22\n", "shop.env: line 1 is no plain assignment"),
        ("shop.env", b"A=hunter22\xff", "bytes that are not UTF-8"),
        ("shop.env", "#" * (1024 * 1024 + 1), "more than 1048576 bytes"),
        ("shop.json", '{"SHOP_DB": 22, "SHOP_JWT": null}', "something else than a text for SHOP_DB, SHOP_JWT"),
    ],
)
def test_files_that_are_something_else(tmp_path: Path, name: str, content: str | bytes, found: str) -> None:
    with pytest.raises(BatonError) as refusal:
        fetch_file(private(tmp_path / name, content))
    assert found in str(refusal.value)
    assert str(tmp_path / name) in str(refusal.value)
    assert "hunter22" not in repr(refusal.value.as_result())


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path, found in [
        (tmp_path, "Is a directory"),
        (tmp_path / "missing", "No such file or directory"),
        (tmp_path / "fifo", "no regular file"),
    ]:
        with pytest.raises(BatonError, match=found):
            fetch_file(str(path))
    with pytest.raises(BatonError, match="no path"):
        fetch(SECRETS, store="file", path=None, host="app1")
