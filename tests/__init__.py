# Makes `python -m tests.witness` win against any package named tests that is installed.
