"""One time-ordered task id in two forms: an integer (below 2**53, safe in JavaScript) and a version-4 UUID.

    integer = milliseconds since 2024 (41 bits, until 2093) | 12 random bits

The UUID carries the integer's 53 bits in its first bits; the rest is a digest of them, so a UUID that was not made here
is recognised without a look-up. Ids are no secrets: every read checks the owner.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid

EPOCH_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z
RANDOM_BITS = 12


def new_task_number(created_ms: int) -> int:
    return (created_ms - EPOCH_MS) << RANDOM_BITS | secrets.randbits(RANDOM_BITS)


def created_ms(number: int) -> int:
    """When the task of this id was made, in Unix milliseconds."""
    return (number >> RANDOM_BITS) + EPOCH_MS


def to_uuid(number: int) -> str:
    digest = int.from_bytes(hashlib.sha256(f"tessera task {number}".encode()).digest()[:16], "big")
    bits = (number >> 5) << 80 | (number & 0x1F) << 71 | digest & (1 << 71) - 1
    # RFC 9562: version 4 in bits 76-79, variant 10 in bits 62-63. The number's low five bits lie below the version.
    return str(uuid.UUID(int=bits & ~(0xF << 76) & ~(0x3 << 62) | 0x4 << 76 | 0x2 << 62))


def from_uuid(text: str) -> int | None:
    """The integer form, or None for anything that `to_uuid` did not make."""
    try:
        bits = uuid.UUID(text).int
    except ValueError:
        return None
    number = (bits >> 80) << 5 | bits >> 71 & 0x1F
    return number if to_uuid(number) == str(uuid.UUID(int=bits)) else None


def new_account_id() -> str:
    """16 lower-case hex digits."""
    return secrets.token_hex(8)
