"""The shipped files against a forward pass in numpy that reads their weights with a protobuf reader of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from tessera_engine import models, tiling
from tessera_engine.backends.onnx import in_order
from tessera_engine.cores import multiplies_bytes

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


def shipped(scale: int) -> models.Weights:
    (weights,) = models.DEFAULT.passes(scale)
    assert isinstance(weights, models.Weights)
    return weights


@pytest.mark.parametrize("scale", [2, 4])
def test_the_session_computes_what_the_architecture_says(
    scale: int, make_scene: Callable[..., NDArray[np.uint8]]
) -> None:
    weights = shipped(scale)
    pixels = make_scene(45, 38)
    wanted = forward((models.WEIGHTS / weights.file).read_bytes(), pixels, scale).clip(0, 255)
    got = dataclasses.replace(weights, quick=None).load().enlarge(pixels)
    assert got.shape == wanted.shape == (22 * scale, 29 * scale, 3)
    assert np.abs(got - wanted).max() < 0.501  # rounding, and float32 where it is close to a tie


@pytest.mark.parametrize("level", [0, 255])
def test_extremes_do_not_wrap_around(level: int) -> None:
    for scale in (2, 4):
        for weights in (dataclasses.replace(shipped(scale), quick=None), quick(scale)):
            flat = weights.load().enlarge(np.full((24, 24, 3), level, np.uint8))
            assert np.abs(flat.astype(int) - level).max() <= 3


# ---------------------------------------------------------------- in integers
def quick(scale: int) -> models.Weights:
    weights = shipped(scale).quick
    assert weights is not None
    return weights


def pair(scale: int, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """The picture enlarged in integers and in floating point, tiled."""
    networks = (quick(scale).load(), dataclasses.replace(shipped(scale), quick=None).load())
    first, second = (tiling.enlarge(network, pixels, tile=64, done=lambda _: None) for network in networks)
    return first.astype(int), second.astype(int)


whole_numbers = pytest.mark.skipif(
    not multiplies_bytes(), reason="this processor's 16-bit sums overflow; it gets the fp32 file"
)


@whole_numbers
@pytest.mark.parametrize("scale", [2, 4])
def test_integers_are_close_to_floating_point(scale: int, make_scene: Callable[..., NDArray[np.uint8]]) -> None:
    got, wanted = pair(scale, make_scene(150, 110))
    assert np.mean((got - wanted) ** 2) < 0.5  # PSNR above 51 dB
    assert abs(np.mean(got - wanted)) < 0.05


@whole_numbers
@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("slope", [0.0, 0.1, 0.5, 1.5])
def test_integers_draw_no_bands_into_a_sky(scale: int, slope: float) -> None:
    """Ramps of `slope` levels a pixel, each colour its own: a level from floating point, and 3 in 1 % of the pixels."""
    down, across = np.mgrid[:64, :96]
    ramp = np.stack([60 + slope * across, 110 + slope * (across + down) / 2, 240 - slope * down], axis=-1)
    got, wanted = pair(scale, np.rint(ramp).astype(np.uint8))
    assert np.abs(got - wanted).max() <= 3
    assert np.mean(np.abs(got - wanted) > 1) < 0.01
    assert np.abs(np.mean(got - wanted, axis=(0, 1))).max() < 0.25


@whole_numbers
@pytest.mark.parametrize("scale", [2, 4])
def test_hard_edges_do_not_overflow(scale: int) -> None:
    """Black and white lines one pixel wide, where what is added to the repeated input is largest."""
    pixels = np.zeros((48, 48, 3), np.uint8)
    pixels[::3, :24] = pixels[:, 24::4] = 255
    got, wanted = pair(scale, pixels)
    assert np.abs(got - wanted).max() <= 32


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("tile", [16, 33, 100])
def test_tiles_do_not_show_in_integers(scale: int, tile: int, make_scene: Callable[..., NDArray[np.uint8]]) -> None:
    network, pixels = quick(scale).load(), make_scene(101, 67)
    whole = tiling.enlarge(network, pixels, tile=200, done=lambda _: None)
    assert np.array_equal(tiling.enlarge(network, pixels, tile=tile, done=lambda _: None), whole)


def test_places_are_put_in_order() -> None:
    places = np.arange(2 * 3 * 12, dtype=np.uint8).reshape(2, 3, 12)
    wanted = places.reshape(2, 3, 2, 2, 3).transpose(0, 2, 1, 3, 4).reshape(4, 6, 3)
    assert np.array_equal(in_order(places, 2), wanted)
