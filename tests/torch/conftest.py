"""These tests need PyTorch. Without it they do not exist: the other suites must pass on an install that lacks it."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = ["test_*.py"] if importlib.util.find_spec("torch") is None else []
