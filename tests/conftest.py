"""Hypothesis profiles, and the two folders that tests import from: ``tests`` (helpers) and the root (reference)."""

import os
import pathlib
import sys

from hypothesis import settings

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(folder) for folder in (HERE, HERE.parent) if str(folder) not in sys.path]

settings.register_profile("dev", max_examples=25, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True, print_blob=True)
settings.register_profile("nightly", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
