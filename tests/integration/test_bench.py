"""bench.control_plane at its smallest: it measures what it says, and what it counts is counted exactly."""

from __future__ import annotations

import pytest

from bench import control_plane


def test_calls_of_each_event_are_the_fewest_or_it_is_said_what_more_is_for() -> None:
    for one in control_plane.handlers(rounds=1):
        assert one.calls == one.case.fewest or one.case.because, one
        assert one.calls >= one.case.fewest
        assert one.handler > 0
        assert one.bare > 0


def test_history_and_cleanup_cost_the_same_among_more_rows() -> None:
    for calls in control_plane.growth((20, 200)).values():
        assert calls[0] == calls[1]


def test_a_function_is_imported_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_plane, "MODULES", ("cleanup",))
    taken = control_plane.imports(rounds=1)
    assert set(taken) == {"boto3 and two clients", "cleanup"}
    assert all(seconds > 0 for seconds in taken.values())
