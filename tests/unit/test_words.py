"""The core knows no vendor."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CORE = Path(__file__).resolve().parents[2] / "layers/core/python/tessera"
VENDORS = re.compile(r"upscayl|supares|let.?s.?enhance|optidash|upscale.?media", re.IGNORECASE)


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda path: path.name)
def test_no_word_of_a_vendor_stands_in_the_core(path: Path) -> None:
    """A task's `dialect` is data."""
    assert not VENDORS.findall(path.read_text())
