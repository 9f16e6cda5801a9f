"""Turn an exported tree into a release: the locked dependencies in vendor/, and every module compiled.

The same tree gives the same bytes each time (for one Python version and platform).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENDOR = ROOT / "vendor"

# What pip writes about the installation itself; RECORD has hashes of scripts, and those name the interpreter.
INSTALLATION_RECORDS = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")


def run(*arguments: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    subprocess.run([sys.executable, *arguments], check=True, cwd=ROOT, env=environment)


def install_dependencies() -> None:
    shutil.rmtree(VENDOR, ignore_errors=True)
    # Only wheels: what a source distribution builds may differ from machine to machine.
    options = ("--quiet", "--no-deps", "--no-compile", "--only-binary=:all:", "--disable-pip-version-check")
    run("-m", "pip", "install", *options, "--target", str(VENDOR), "--requirement", "requirements.lock")
    # Scripts with the path of this interpreter, and the test helpers that SQLAlchemy and Alembic carry.
    for superfluous in (VENDOR / "bin", *VENDOR.glob("*/testing")):
        shutil.rmtree(superfluous, ignore_errors=True)
    for name in INSTALLATION_RECORDS:
        for record in VENDOR.glob(f"*.dist-info/{name}"):
            record.unlink()


def compile_modules() -> None:
    # By hash, because the default records the time of the file; unchecked, because a release never changes.
    # Relative paths, because compiled code remembers its path.
    run("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "shop", "migrations", "vendor")


def main() -> None:
    if (ROOT / ".git").exists():
        sys.exit("build.py: run it in an exported tree; in a checkout the .pyc files would hide your next edit")
    try:
        install_dependencies()
        compile_modules()
    except subprocess.CalledProcessError as error:
        sys.exit(f"build.py: exit code {error.returncode} of {' '.join(error.cmd[1:4])}")


if __name__ == "__main__":
    main()
