"""Arithmetic of pictures' sizes: what fits into what, and where a part of it lies. All sides in pixels."""

from __future__ import annotations

from typing import Literal

Size = tuple[int, int]  # width, height
Box = tuple[float, float, float, float]  # left, top, right, bottom
Gravity = Literal[
    "centre", "north", "north_east", "east", "south_east", "south", "south_west", "west", "north_west"
]  # fmt: skip

FACTORS = (2, 4, 8)  # that networks enlarge by, in one or two passes
# The next factor costs 4 times the work. So little more than the factor before it is interpolated, and no one sees it.
SLACK = 1.05


class DoesNotFit(ValueError):
    """An operation asks for what a picture of this size does not have. The message is for the picture's owner."""


def inside(width: int, height: int, across: int | None, down: int | None) -> Size:
    """The largest size of the same aspect in a box, one side of which is met exactly; None is no limit."""
    if across is None and down is None:
        return width, height
    if down is None or (across is not None and across * height <= down * width):
        assert across is not None
        return across, max(1, (2 * height * across + width) // (2 * width))
    return max(1, (2 * width * down + height) // (2 * height)), down


def factor_for(size: Size, target: Size) -> int:
    """The nearest of FACTORS that reaches the target, 1 when the picture does; the largest when none does."""
    needed = max(target[0] / size[0], target[1] / size[1])
    if needed <= 1:
        return 1
    return next((factor for factor in FACTORS if needed <= factor * SLACK), FACTORS[-1])


def offset(size: Size, part: Size, gravity: Gravity) -> tuple[int, int]:
    """Left and top of a part of a picture; negative where the part is the larger."""
    across = 0 if gravity.endswith("west") else 2 if gravity.endswith("east") else 1
    down = 0 if gravity.startswith("north") else 2 if gravity.startswith("south") else 1
    return (size[0] - part[0]) * across // 2, (size[1] - part[1]) * down // 2


def cover_box(size: Size, target: Size, gravity: Gravity) -> Box:
    """The largest part of a picture with the target's aspect. A target of the same scale lies on whole pixels."""
    share = max(target[0] / size[0], target[1] / size[1])
    if share == 1:
        left, top = offset(size, target, gravity)
        return float(left), float(top), float(left + target[0]), float(top + target[1])
    wide, high = min(float(size[0]), target[0] / share), min(float(size[1]), target[1] / share)
    right = 0.0 if gravity.endswith("west") else 1.0 if gravity.endswith("east") else 0.5
    lower = 0.0 if gravity.startswith("north") else 1.0 if gravity.startswith("south") else 0.5
    start, top_row = (size[0] - wide) * right, (size[1] - high) * lower
    return start, top_row, min(float(size[0]), start + wide), min(float(size[1]), top_row + high)
