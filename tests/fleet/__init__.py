"""The test fleet: hosts with systemd and sshd as containers, on a network of their own. ``python -m tests.fleet --help`` tells the rest."""
