"""Rows that come in portions of any height, cut into portions of one height."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Cutter:
    """`total` rows are expected; the last portion has what is left over."""

    def __init__(self, rows: int, total: int) -> None:
        self.rows, self.left = rows, total
        self.kept: list[NDArray[Any]] = []
        self.count = 0

    def cut(self, portion: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Portions of (rows, ...). They do not share memory with what was given: its owner may write to it again."""
        if portion.shape[0] > self.left:
            raise ValueError(f"{portion.shape[0] - self.left} rows too many")
        place = 0
        while place < portion.shape[0]:
            part = portion[place : place + self.rows - self.count].copy()
            place += part.shape[0]
            self.left -= part.shape[0]
            self.kept.append(part)
            self.count += part.shape[0]
            if self.count == self.rows or not self.left:
                yield self.kept[0] if len(self.kept) == 1 else np.concatenate(self.kept)
                self.kept, self.count = [], 0
