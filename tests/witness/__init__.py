# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The outside client: it writes down every request while releases happen, and judges afterwards."""
