from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tessera import ids

NUMBERS = st.integers(min_value=0, max_value=2**53 - 1)


@given(NUMBERS)
def test_both_forms_name_the_same_task(number: int) -> None:
    assert ids.from_uuid(ids.to_uuid(number)) == number


@given(NUMBERS)
def test_the_uuid_is_a_random_one_by_its_form(number: int) -> None:
    made = uuid.UUID(ids.to_uuid(number))
    assert (made.version, made.variant) == (4, uuid.RFC_4122)


@given(NUMBERS, NUMBERS)
def test_ids_sort_by_time_in_both_forms(one: int, other: int) -> None:
    if one >> 5 != other >> 5:  # the last bits are random
        assert (one < other) == (ids.to_uuid(one) < ids.to_uuid(other))


@given(st.uuids(version=4))
def test_a_uuid_made_elsewhere_is_recognised(foreign: uuid.UUID) -> None:
    assert ids.from_uuid(str(foreign)) is None


@pytest.mark.parametrize("text", ["", "x", "30a89e69-c702-4247-9905-f0a53dfa45a", "é" * 36])
def test_what_is_no_uuid_is_no_task(text: str) -> None:
    assert ids.from_uuid(text) is None


def test_numbers_stay_safe_in_javascript_until_2090() -> None:
    assert ids.new_task_number(3_786_912_000_000) < 2**53
