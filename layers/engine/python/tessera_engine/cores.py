"""The cores that this process may use, and what they can do."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


def usable_cores() -> int:
    """The cores that this process may run on, which in a container are often fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# Linux' names for instructions that add four products of bytes to 32 bits at once, as x86 and ARM have them.
DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "asimddp"})


@cache
def multiplies_bytes(listing: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether integer networks are quick here, and exact: without these instructions x86 adds pairs of products in 16
    bits, where they can overflow. False where it is not known.
    """
    if not listing.is_file():
        return False
    words = (line.partition(":") for line in listing.read_text().splitlines())
    flags = {name for key, _, names in words if key.strip() in ("flags", "Features") for name in names.split()}
    return not DOT_PRODUCTS.isdisjoint(flags)
