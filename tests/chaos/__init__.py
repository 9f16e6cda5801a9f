"""The controller dies, at every task of every procedure and in every way; then people do what people do, and all is well.

``procedures`` names what is struck, ``recording`` finds its tasks, ``strike`` says how it dies, ``oracle`` judges what comes of
it by what ``truth`` finds on the ``ground``. ``python -m tests.chaos`` does all of it and writes a report; ``test_chaos.py``, and on
a fleet ``tests/fleet/test_strikes.py``, do a part of it in every test run.
"""
