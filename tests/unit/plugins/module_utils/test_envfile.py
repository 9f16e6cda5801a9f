"""Env files survive every value, and their writer touches only what it should."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import time
import typing

import pytest
from ansible_collections.baton.release.plugins.module_utils.envfile import deliver, parse, render
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from hypothesis import example, given, settings
from hypothesis import strategies as st

if typing.TYPE_CHECKING:
    from pathlib import Path

NONCHARACTERS = "".join(
    chr(point) for point in range(0x110000) if point & 0xFFFE == 0xFFFE or 0xFDD0 <= point <= 0xFDEF
)
VALUES = st.text(alphabet=st.characters(exclude_characters=f"\0{NONCHARACTERS}", exclude_categories=["Cs"]))
NASTY = [
    "",
    " ",
    "  both ends  ",
    "\n",
    "\nfirst\n\nlast\n",
    "\r\n",
    "\\",
    "\\\n",
    "\\\\n",
    "a\\",
    '"',
    '""',
    "'",
    "`id`",
    "$(id)",
    "$HOME",
    "${HOME}",
    "$",
    "$$",
    "#",
    " # not a comment",
    "; id",
    "NAME=value",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "%n%s",
    "!history",
    "~",
    "*",
    "\t\x01\x07\x1b[2J\x7f\x81\x88",
    "\u0081\u0082\u0088",
    "\ufeffbyte order mark",
    "\U0001f512\u00e9\u2028",
    "-----BEGIN KEY-----\nMIIE/+=\n-----END KEY-----\n",
    "x" * 5_000,
]


def through_sh(values: typing.Sequence[str], file: Path) -> list[str]:
    """Return what a process gets that a POSIX shell starts after it has read the env file of ``values``."""
    named = {f"S{number}": value for number, value in enumerate(values)}
    file.write_bytes(render(named).encode())
    script = 'set -a; . "$1"; exec env -0'
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", file], check=True, capture_output=True, env={"PATH": os.defpath}
    )
    environment = dict(entry.split(b"=", 1) for entry in done.stdout.split(b"\0") if entry)
    return [environment[name.encode()].decode() for name in named]


def test_a_thousand_random_values_survive(tmp_path: Path) -> None:
    seen: list[str] = []

    @settings(max_examples=1000, deadline=None, database=None)
    @given(VALUES)
    def survives_parse(value: str) -> None:
        assert parse(render({"NAME": value})) == {"NAME": value}
        seen.append(value)

    survives_parse()
    assert len(seen) >= 1000
    for start in range(0, len(seen), 300):
        batch = seen[start : start + 300]
        assert through_sh(batch, tmp_path / "env") == batch


def test_the_characters_that_mean_something_survive(tmp_path: Path) -> None:
    dice = random.Random(94)  # noqa: S311 - a repeatable test, not a secret
    values = NASTY + ["".join(dice.choices("\"\\`$'\n\r\t #;=ab{}()!*~", k=dice.randrange(30))) for _ in range(500)]
    assert through_sh(values, tmp_path / "env") == values
    named = {f"S{number}": value for number, value in enumerate(values)}
    assert parse(render(named)) == named


@given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True), VALUES))
@example({})
@settings(max_examples=100, deadline=None, database=None)
def test_whole_files_survive(values: dict[str, str]) -> None:
    text = render(values)
    assert parse(text) == values
    assert render(dict(reversed(values.items()))) == text


def test_the_format() -> None:
    lines = render({"B": 'say "hi"', "A": "$1"}).splitlines()
    assert lines[0].startswith("# Written by ")
    assert lines[1:] == ['A="\\$1"', 'B="say \\"hi\\""']


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "\u00c4", "A\n", "A;id", "A.B"])
def test_names_that_are_no_names(name: str) -> None:
    with pytest.raises(BatonError) as refusal:
        render({name: "hunter22", "GOOD": "x"})
    assert ascii(name) in str(refusal.value)
    assert "hunter22" not in str(refusal.value)


@pytest.mark.parametrize(
    "value", ["hunter22\0", "hunter22\udce9", *(f"hunter22{character}" for character in NONCHARACTERS)]
)
def test_values_that_no_environment_holds(value: str) -> None:
    with pytest.raises(BatonError) as refusal:
        render({"A": value, "B": value, "C": "fine"})
    assert "in A, B." in str(refusal.value)
    assert "hunter22" not in repr(refusal.value.as_result())


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("\n\n# only this\n  # and this", {}),
        ("A=1", {"A": "1"}),
        ("A=\nB=''\n", {"A": "", "B": ""}),
        ("A=postgresql://shop@db:5432/shop?sslmode=require", {"A": "postgresql://shop@db:5432/shop?sslmode=require"}),
        (" A='$x \"y\"\n#z'  \n", {"A": '$x "y"\n#z'}),
        ('A="x"\t\n#c\nB=y', {"A": "x", "B": "y"}),
    ],
)
def test_what_people_write(text: str, values: dict[str, str], tmp_path: Path) -> None:
    assert parse(text) == values
    (tmp_path / "env").write_text(text)
    script = 'set -a; . "$1"; exec env -0'
    done = subprocess.run(["/bin/sh", "-c", script, "sh", tmp_path / "env"], check=True, capture_output=True, env={})
    environment = dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0") if entry)
    assert values.items() <= environment.items()


@pytest.mark.parametrize(
    "line",
    [
        "hunter22",
        "A hunter22",
        "A = hunter22",
        "A=hunter22 x",
        "A=hunter22;id",
        "A=$hunter22",
        'A="hunter22',
        'A="hunter22$x"',
        'A="`hunter22`"',
        'A="hunter22\\n"',
        'A="hunter22\\',
        "A='hunter22\\'",
        'A="hunter22"x',
        "A=\\hunter22",
        "export A=hunter22",
        "A=~hunter22",
        "A=hunter22\r",
        "A=hunter22 # comment",
        "2A=hunter22",
        "FIRST=hunter22",
    ],
)
def test_lines_that_could_mean_two_things(line: str) -> None:
    with pytest.raises(BatonError) as refusal:
        parse(f"FIRST=1\n\n{line}\n", source="shop.env")
    assert "shop.env: line 3 " in str(refusal.value)
    assert "hunter22" not in repr(refusal.value.as_result())


@pytest.mark.parametrize("text", ["A=1\n" + "".join(f"A{n}=1\n" for n in range(100_000)), 'A="' + "\\" * 1_000_001])
def test_large_files_take_no_long_time(text: str) -> None:
    started = time.monotonic()
    try:
        assert len(parse(text)) == 100_001
    except BatonError:
        assert text.endswith("\\")
    assert time.monotonic() - started < 2


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def _open_umask() -> typing.Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_deliver_writes_once(tmp_path: Path) -> None:
    dest = tmp_path / "new" / "secrets.env"
    first = deliver({"B": "2", "A": "1"}, str(dest), check_mode=False)
    assert first == {"changed": True, "dest": str(dest), "names": ["A", "B"], "diff": {"prepared": "+ A\n+ B\n"}}
    assert parse(dest.read_text()) == {"A": "1", "B": "2"}
    assert (mode_of(dest), mode_of(dest.parent)) == (0o600, 0o700)
    inode = dest.stat().st_ino
    again = deliver({"A": "1", "B": "2"}, str(dest), check_mode=False)
    assert (again["changed"], again["diff"], dest.stat().st_ino) == (False, {"prepared": ""}, inode)
    assert [entry.name for entry in dest.parent.iterdir()] == ["secrets.env"]


def test_deliver_says_which_names_change_and_no_value(tmp_path: Path) -> None:
    dest = tmp_path / "secrets.env"
    deliver({"KEPT": "hunter21", "TURNED": "hunter22", "GONE": "hunter23"}, str(dest), check_mode=False)
    result = deliver({"KEPT": "hunter21", "TURNED": "hunter24", "COME": "hunter25"}, str(dest), check_mode=False)
    assert result["diff"] == {"prepared": "+ COME\n- GONE\n~ TURNED\n"}
    assert "hunter" not in repr(result)


def test_deliver_of_nothing_empties_the_file(tmp_path: Path) -> None:
    dest = tmp_path / "secrets.env"
    deliver({"A": "1"}, str(dest), check_mode=False)
    assert deliver({}, str(dest), check_mode=False)["diff"] == {"prepared": "- A\n"}
    assert parse(dest.read_text()) == {}


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o666, 0o400, 0o4600])
def test_deliver_mends_the_mode(tmp_path: Path, mode: int) -> None:
    dest = tmp_path / "secrets.env"
    deliver({"A": "1"}, str(dest), check_mode=False)
    dest.chmod(mode)
    assert deliver({"A": "1"}, str(dest), check_mode=True)["changed"]
    assert mode_of(dest) == mode
    assert deliver({"A": "1"}, str(dest), check_mode=False)["changed"]
    assert mode_of(dest) == 0o600


@pytest.mark.parametrize("content", [b"", b"not an env file", b"\xff\xfe\0", b"A=1\n" * 500_000])
def test_deliver_replaces_what_others_wrote(tmp_path: Path, content: bytes) -> None:
    dest = tmp_path / "secrets.env"
    dest.write_bytes(content)
    assert deliver({"A": "1"}, str(dest), check_mode=False)["changed"]
    assert parse(dest.read_text()) == {"A": "1"}


def test_deliver_leaves_a_directory_that_is_there_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    deliver({"A": "1"}, str(tmp_path / "secrets.env"), check_mode=False)
    assert mode_of(tmp_path) == 0o755


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    dest = tmp_path / "new" / "secrets.env"
    assert deliver({"A": "1"}, str(dest), check_mode=True)["changed"]
    assert list(tmp_path.iterdir()) == []


def _directory(path: Path) -> None:
    path.mkdir()


def _link(path: Path) -> None:
    path.with_name("target").write_text("kept")
    path.symlink_to("target")


def _dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (_directory, "a directory at "),
        (_link, "a symbolic link at "),
        (_dangling_link, "a symbolic link at "),
        (_fifo, "a special file at "),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_deliver_refuses_what_is_no_file(
    tmp_path: Path, make: typing.Callable[[Path], None], found: str, *, check_mode: bool
) -> None:
    dest = tmp_path / "secrets.env"
    make(dest)
    before = sorted(entry.name for entry in tmp_path.iterdir())
    with pytest.raises(BatonError) as refusal:
        deliver({"A": "hunter22"}, str(dest), check_mode=check_mode)
    assert f"Found: {found}{dest}" in str(refusal.value)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before
    assert all(entry.read_text() == "kept" for entry in tmp_path.iterdir() if entry.is_file())


def test_deliver_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BatonError, match="Not a directory at "):
        deliver({"A": "1"}, str(tmp_path / "file" / "secrets.env"), check_mode=False)


def test_deliver_needs_an_absolute_path() -> None:
    with pytest.raises(BatonError, match="not absolute"):
        deliver({"A": "1"}, "secrets.env", check_mode=False)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "secrets.env"
    deliver({"A": "1"}, str(dest), check_mode=False)

    def full_disk(_: int) -> typing.NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(BatonError, match=r"secrets\.env cannot be written: No space left on device"):
        deliver({"A": "hunter22"}, str(dest), check_mode=False)
    assert parse(dest.read_text()) == {"A": "1"}
    assert list(tmp_path.iterdir()) == [dest]
