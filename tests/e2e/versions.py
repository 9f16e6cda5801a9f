"""Versions of the shop that are made in a moment: what a build has, in a compressed part that all of them share, and what is other."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import py_compile
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

__all__ = ["make"]

_MARKER = "shop/__init__.py"


def make(artifacts: Path, version: str, *, like: str, edits: Mapping[str, str]) -> Path:
    """Make the artifact of ``version`` and its manifest, and return it.

    Args:
        artifacts: where the builds are.
        version: the version's name.
        like: the built version to start from.
        edits: text to append to files of the app, by path in the release.
    """
    base = _base(artifacts / f"shop-{like}.tar.gz")
    texts = {path: base.texts.get(path, "") for path in {_MARKER, *edits}}
    texts[_MARKER] = texts[_MARKER].replace(like, version)
    artifact = artifacts / f"shop-{version}.tar.gz"
    shutil.copyfile(base.head, artifact)
    with artifact.open("ab") as stream, gzip.open(stream, "wb", compresslevel=1) as rest:
        rest.write(_archive({path: text + edits.get(path, "") for path, text in texts.items()}, base.compiled))
    sha256 = hashlib.sha256(artifact.read_bytes()).hexdigest()
    artifact.with_name(f"shop-{version}.json").write_text(json.dumps({"sha256": sha256}))
    return artifact


class _Base:
    """A build: its archive without the end, compressed, and the texts of its own files."""

    def __init__(self, artifact: Path) -> None:
        self.head = artifact.with_name(f".{artifact.name}.head")
        self.texts: dict[str, str] = {}
        self.compiled: set[str] = set()
        with gzip.open(artifact) as stream:
            data = stream.read()
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                name = str(PurePosixPath(member.name))
                if name.startswith("vendor") or not member.isreg():
                    continue
                if name.endswith(".pyc"):
                    self.compiled.add(name)
                elif name.endswith(".py"):
                    self.texts[name] = data[member.offset_data : member.offset_data + member.size].decode()
            end = archive.offset
        # Members of gzip may follow each other, so all versions begin with the same one.
        self.head.write_bytes(gzip.compress(data[:end], compresslevel=1))


@functools.cache
def _base(artifact: Path) -> _Base:
    return _Base(artifact)


def _archive(texts: Mapping[str, str], compiled: set[str]) -> bytes:
    """Return a tar archive whose members take the place of those before them."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path, text in sorted(texts.items()):
            _add(archive, path, text.encode())
            # The build compiles without a check against the source, so what is edited needs a compiled form of its own.
            for name in sorted(compiled):
                if PurePosixPath(name).match(
                    f"{PurePosixPath(path).parent}/__pycache__/{PurePosixPath(path).stem}.*.pyc"
                ):
                    _add(archive, name, _compile(path, text))
    return stream.getvalue()


def _compile(path: str, text: str) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        source, target = Path(directory, "source.py"), Path(directory, "source.pyc")
        source.write_text(text)
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(source), str(target), path, doraise=True, invalidation_mode=mode)
        return target.read_bytes()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(f"./{name}")
    member.size, member.mode = len(content), 0o644
    archive.addfile(member, io.BytesIO(content))
