"""Give a virtual environment of ansible-test its pip from the copy that every Python carries.

ansible-test would download a bootstrap script; it takes this one from its cache instead, so that sanity tests need no more than
the package index. Called as the original is: with what to install, and options that only the original knows.
"""

from __future__ import annotations

import ensurepip
import os
import subprocess
import sys
from pathlib import Path

SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
NOT_PIPS_OWN = {"--no-setuptools", "--no-wheel"}


def main() -> None:
    """Install pip, then what was asked for."""
    ensurepip.bootstrap()
    if SYSTEM_CERTIFICATES.exists():
        # ansible-test takes PIP_CERT out of the environment, and the bundled pip knows the public authorities only.
        os.environ.setdefault("PIP_CERT", str(SYSTEM_CERTIFICATES))
    wanted = [argument for argument in sys.argv[1:] if argument not in NOT_PIPS_OWN]
    subprocess.check_call([sys.executable, "-m", "pip", "install", *wanted])


if __name__ == "__main__":
    main()
