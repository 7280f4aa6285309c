"""The shipped files against a forward pass in numpy that reads their weights with a protobuf reader of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from tessera_engine import models

Floats = NDArray[np.float64]


def varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Number and value of every field of a protobuf message."""
    place = 0
    while place < len(data):
        key, place = varint(data, place)
        if key & 7 == 2:
            length, place = varint(data, place)
            yield key >> 3, data[place : place + length]
            place += length
        else:
            value, place = varint(data, place)
            yield key >> 3, value


def initialisers(model: bytes) -> dict[str, Floats]:
    """onnx.proto: ModelProto.graph = 7, GraphProto.initializer = 5, TensorProto.dims = 1, name = 8, raw_data = 9."""
    (graph,) = (value for number, value in fields(model) if number == 7)
    assert isinstance(graph, bytes)
    tensors = {}
    for number, value in fields(graph):
        if number == 5 and isinstance(value, bytes):
            parts = list(fields(value))
            shape = [part for key, part in parts if key == 1 and isinstance(part, int)]
            name, raw = dict(parts)[8], dict(parts).get(9)
            if isinstance(name, bytes) and isinstance(raw, bytes) and name.endswith((b"weight", b"bias")):
                tensors[name.decode()] = np.frombuffer(raw, "<f4").reshape(shape).astype(np.float64)
    return tensors


def convolve(planes: Floats, weight: Floats, bias: Floats) -> Floats:
    """(c, h, w) to (o, h - 2, w - 2) with a kernel (o, c, 3, 3)."""
    windows = np.lib.stride_tricks.sliding_window_view(planes, (3, 3), axis=(1, 2))
    return np.einsum("chwij,ocij->ohw", windows, weight, optimize=True) + bias[:, None, None]


def forward(model: bytes, pixels: NDArray[np.uint8], scale: int) -> Floats:
    """M6C48 in float64: (h + 16, w + 16, 3) levels to (h * scale, w * scale, 3) levels, not rounded."""
    weights = initialisers(model)
    features = pixels.transpose(2, 0, 1).astype(np.float64)
    for layer in ["head", *(f"body.{number}" for number in range(6))]:
        features = np.maximum(convolve(features, weights[f"{layer}.weight"], weights[f"{layer}.bias"]), 0)
    tail = convolve(features, weights["tail.weight"], weights["tail.bias"])
    height, width = tail.shape[1:]
    places = tail.reshape(scale, scale, 3, height, width).transpose(3, 0, 4, 1, 2)
    middle = pixels[8:-8, 8:-8].astype(np.float64)
    return (places + middle[:, None, :, None, :]).reshape(height * scale, width * scale, 3)


@pytest.mark.parametrize("scale", [2, 4])
def test_the_session_computes_what_the_architecture_says(
    scale: int, make_scene: Callable[..., NDArray[np.uint8]]
) -> None:
    (weights,) = models.DEFAULT.passes(scale)
    pixels = make_scene(45, 38)
    wanted = forward((models.WEIGHTS / weights.file).read_bytes(), pixels, scale).clip(0, 255)
    got = models.network(weights).enlarge(pixels)
    assert got.shape == wanted.shape == (22 * scale, 29 * scale, 3)
    assert np.abs(got - wanted).max() < 0.501  # rounding, and float32 where it is close to a tie


@pytest.mark.parametrize("level", [0, 255])
def test_extremes_do_not_wrap_around(level: int) -> None:
    for weights in models.DEFAULT.weights:
        flat = models.network(weights).enlarge(np.full((24, 24, 3), level, np.uint8))
        assert np.abs(flat.astype(int) - level).max() <= 3
