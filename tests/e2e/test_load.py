"""bench.load at a small size: a worker is killed three times in fifteen seconds, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import load


def test_nothing_is_lost_while_workers_are_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = load.Plan(15, clients=4, in_flight=16, kill_every=4, kills=3, victims={"UpscaleWorkerFunction"})
    seen, wrong = load.run(plan, tmp_path)
    assert wrong == []
    assert seen.kills["UpscaleWorkerFunction"] >= 3
    assert seen.accepted
    assert seen.accepted == seen.ended.keys()
    load.print_report(plan, seen, wrong)
    assert "0 lost, 0 charged twice, 0 stuck" in capsys.readouterr().out
