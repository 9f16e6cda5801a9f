# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Make the example shop's git repository: main and develop, with the tags v1.0.0, v1.1.0, v1.2.0 and v1.2.1.

    python make_repository.py DIRECTORY

Commit and tag ids are the same on every machine, whatever its git configuration says. A repository that an earlier run
made is replaced; any other directory that is not empty is refused.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TREES = Path(__file__).resolve().parent
RELEASES = (
    ("v1.0.0", "2026-01-12T10:00:00Z", "Sell products and take orders"),
    ("v1.1.0", "2026-02-09T10:00:00Z", "Show ratings and deals"),
    ("v1.2.0", "2026-03-09T10:00:00Z", "Run campaigns"),
    ("v1.2.1", "2026-03-10T10:00:00Z", "Let a campaign leave the price as it is"),
)
NOT_COPIED = ("__pycache__", "vendor", ".*_cache")
# In the repository's own configuration: tells what may be replaced later.
MARK = "baton.example"


def git(directory: Path, *arguments: str, date: str = RELEASES[0][1]) -> str:
    """Run git with nothing of this machine's configuration and environment; return what it printed.

    Raises:
        subprocess.CalledProcessError: git has failed; ``stderr`` says why.
    """
    person = {"NAME": "Shop Developers", "EMAIL": "shop@example.invalid", "DATE": date}
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{role}_{name}": value for role in ("AUTHOR", "COMMITTER") for name, value in person.items()},
    }
    return subprocess.run(
        ["git", *arguments], cwd=directory, env=environment, check=True, capture_output=True, text=True
    ).stdout


def make(repository: Path) -> None:
    """Write the repository into the empty directory ``repository``."""
    git(repository, "init", "--quiet", "--template=", "--initial-branch=main", "--object-format=sha1")
    git(repository, "config", MARK, "shop")
    for version, date, subject in RELEASES:
        # Contents only: git would record modes, and those may differ between checkouts of the trees.
        shutil.copytree(
            TREES / version,
            repository,
            ignore=shutil.ignore_patterns(*NOT_COPIED),
            copy_function=shutil.copyfile,
            dirs_exist_ok=True,
        )
        git(repository, "add", "--all")
        git(repository, "commit", "--quiet", f"--message={subject}", date=date)
        git(repository, "tag", "--annotate", f"--message=Release {version}", version, date=date)
    git(repository, "branch", "develop")


def replaceable(repository: Path) -> bool:
    """Tell whether ``repository`` is absent, empty, or the work of an earlier run."""
    if not repository.exists():
        return True
    if not repository.is_dir() or repository.is_symlink():
        return False
    if not any(repository.iterdir()):
        return True
    config = repository / ".git" / "config"
    return config.is_file() and git(repository, "config", "--file", str(config), "--default=", MARK).strip() == "shop"


def main(arguments: list[str]) -> int:
    """Return the exit code: 0 done, 1 failed, 2 not called rightly or refused."""
    if len(arguments) != 1:
        print("usage: make_repository.py DIRECTORY", file=sys.stderr)
        return 2
    repository = Path(arguments[0]).absolute()
    if not replaceable(repository):
        print(f"make_repository.py: {repository} holds something else; name an empty directory", file=sys.stderr)
        return 2
    repository.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".shop-", dir=repository.parent) as scratch:
        made = Path(scratch) / "repository"
        made.mkdir()
        try:
            make(made)
        except subprocess.CalledProcessError as error:
            print(f"make_repository.py: {' '.join(error.cmd)} failed: {error.stderr.strip()}", file=sys.stderr)
            return 1
        if repository.exists():
            repository.rename(Path(scratch) / "replaced")
        made.rename(repository)
    print(git(repository, "for-each-ref", "--format=%(refname:short) %(objectname) %(*objectname)").rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
