"""How long releases take and what users notice of them, measured on fleets of several sizes: ``python -m tests.bench --help``."""
