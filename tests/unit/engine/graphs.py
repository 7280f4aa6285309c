"""Tiny ONNX files, written field by field (onnx.proto's numbers): the package is not needed to run such files."""

from __future__ import annotations

import struct

UINT8, FLOAT = 2, 1  # TensorProto.DataType


def field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def node(kind: str, inputs: tuple[str, ...], output: str, **attributes: int) -> bytes:
    """NodeProto: input = 1, output = 2, op_type = 4, attribute = 5 (name = 1, i = 3, type = 20: INT is 2)."""
    said = b"".join(field(5, field(1, name) + field(3, value) + field(20, 2)) for name, value in attributes.items())
    return b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, kind) + said


def scalar(name: str, kind: int, data: bytes) -> bytes:
    """TensorProto without dimensions: data_type = 2, name = 8, raw_data = 9."""
    return field(2, kind) + field(8, name) + field(9, data)


def named(name: str, kind: int, sides: tuple[str | int, ...]) -> bytes:
    """ValueInfoProto: name = 1, type = 2 (tensor_type = 1: elem_type = 1, shape = 2, of dim = 1: a value or a name)."""
    shape = b"".join(field(1, field(1 if isinstance(side, int) else 2, side)) for side in sides)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))


def root_of_what_is_above(level: float, *, shown: bool) -> bytes:
    """`enlarged` = the rounded square root of `pixels` - level, at the pixels' own size: below it, not a number.

    `shown`: with `samples`, which is not rounded.
    """
    sides = (1, "height", "width", 3)
    nodes = (
        node("Cast", ("pixels",), "levels", to=FLOAT),
        node("Sub", ("levels", "level"), "above"),
        node("Sqrt", ("above",), "samples"),
        node("QuantizeLinear", ("samples", "one", "zero"), "enlarged"),
    )
    constants = (
        scalar("level", FLOAT, struct.pack("<f", level)),
        scalar("one", FLOAT, struct.pack("<f", 1)),
        scalar("zero", UINT8, b"\0"),
    )
    graph = (
        b"".join(field(1, value) for value in nodes)
        + field(2, "root")
        + b"".join(field(5, value) for value in constants)
        + field(11, named("pixels", UINT8, sides))
        + field(12, named("enlarged", UINT8, sides))
        + (field(12, named("samples", FLOAT, sides)) if shown else b"")
    )
    return field(1, 8) + field(8, field(1, "") + field(2, 17)) + field(7, graph)
