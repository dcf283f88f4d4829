"""Test processes run side by side, so each computes with one thread."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported, also by child processes
