"""The crash lab in small: each flow without a fault, a few faults of each, and no call site left out.

`make crash-lab` runs all faults.
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from pathlib import Path

import pytest

from tests.crashlab import sites, sweep
from tests.crashlab.calls import Call, Frame
from tests.crashlab.flows import FLOWS, Flow

SHARE = 0.01  # of the calls are made to fail here


@cache
def runs(flow: Flow) -> tuple[sweep.Run, ...]:
    return sweep.run(flow, sweep.some_faults(SHARE, flow.name))


@cache
def planned() -> list[Call]:
    """The calls that a full sweep makes to fail."""
    baselines = [runs(flow)[0] for flow in FLOWS]
    plans = zip(baselines, sweep.all_faults(baselines), strict=True)
    return [call for baseline, faults in plans for call in baseline.calls if faults.get(call.number)]


@pytest.mark.parametrize("flow", FLOWS, ids=[flow.name.replace(" ", "-") for flow in FLOWS])
def test_g1_g3_g4_g5_g6_g7_g8_g9_g14_g15_g19_g28_g30_hold_whatever_fails(flow: Flow) -> None:
    assert [str(run) for run in runs(flow) if run.wrong] == []


def test_enough_of_them_had_a_fault() -> None:
    assert sum(run.injected is not None for flow in FLOWS for run in runs(flow)) > 30


def test_every_place_that_makes_a_call_is_made_to_fail_in_a_sweep() -> None:
    assert [str(site) for site in sites.uncovered(planned())] == []


def test_no_call_comes_from_a_place_that_was_not_found() -> None:
    calls = chain.from_iterable(run.calls for flow in FLOWS for run in runs(flow))
    assert [str(call.frames[0]) for call in sites.unknown(calls)] == []


def test_a_place_that_no_flow_reaches_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = tmp_path / "new.py"
    new.write_text("def look(services, ref):\n    return services.table.get(ref)\n")
    monkeypatch.setattr(sites, "_name", lambda path: "functions/new.py" if path == new else str(path))
    (found,) = sites._sites(new)
    assert str(found) == "functions/new.py:2 look -> get"
    inside = Frame("layers/core/python/tessera/table.py", "Table.get", 108)
    assert found.reached_by(Call(1, "GetItem", 1, (inside, Frame("functions/new.py", "look", 2))))
    assert not found.reached_by(Call(1, "GetItem", 1, (inside, Frame("functions/new.py", "other", 2))))
    assert not found.reached_by(Call(1, "GetItem", 1, (inside,)))
