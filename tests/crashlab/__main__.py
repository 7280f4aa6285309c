"""python -m tests.crashlab [--every | --baseline] [--first] [--flow NAME] [--kind KIND] [--operation NAME] [--jobs N]

The whole sweep; ends with 1 where anything was violated, or a call site was in no flow.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain

from tests import conftest  # noqa: F401  the environment of the tests: no real credentials
from tests.crashlab import sites, sweep
from tests.crashlab.flows import FLOWS
from tests.crashlab.sweep import Faults, Run


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.crashlab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", action="store_true", help="also the calls that repeat one place more than that")
    parser.add_argument("--flow", default="", help="those whose name contains this")
    parser.add_argument("--kind", default="", help="of fault")
    parser.add_argument("--operation", default="", help="of AWS, as PutObject")
    parser.add_argument("--baseline", action="store_true", help="no faults")
    parser.add_argument("--first", action="store_true", help="end a flow at its first violation")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args(arguments)
    os.environ["POWERTOOLS_METRICS_DISABLED"] = "true"  # a line for each fact of each run
    began = time.monotonic()
    flows = [n for n, flow in enumerate(FLOWS) if options.flow in flow.name]
    with ProcessPoolExecutor(options.jobs) as pool:
        runs = list(pool.map(_baseline, flows))
        if not options.baseline and not any(run.wrong for run in runs):
            faults = sweep.all_faults(runs, options.every)
            plans = [_wanted(options, *planned) for planned in zip(runs, faults, strict=True)]
            for made in pool.map(_swept, flows, plans, [options.first] * len(flows)):
                wrong = sum(bool(run.wrong) for run in made)
                print(f"{len(made) - 1:5} faults, {wrong} violations  {made[0].flow}", flush=True)
                runs += made[1:]
    return report(runs, whole=not options.flow, seconds=time.monotonic() - began)


def report(runs: list[Run], whole: bool, seconds: float) -> int:
    calls = list(chain.from_iterable(run.calls for run in runs))
    injected = [run for run in runs if run.fault]
    missing = sites.uncovered(run.injected for run in injected if run.injected) if whole else []
    wrong = [run for run in runs if run.wrong]
    print(f"flows                {sum(run.fault is None for run in runs)}")
    print(f"calls in them        {len(calls)}")
    print(f"call sites found     {len(sites.all_sites())}, without an injected run {len(missing)}")
    kinds = Counter(run.fault.kind for run in injected if run.fault)
    print(f"injections run       {len(injected)} ({', '.join(f'{kind} {n}' for kind, n in kinds.items())})")
    print(f"violations           {len(wrong)}")
    print(f"time                 {seconds:.0f} s", flush=True)
    for site in missing:
        print(f"NOT INJECTED {site}")
    for run in wrong:
        print(f"VIOLATED {run}")
    return 1 if wrong or missing else 0


def _wanted(options: argparse.Namespace, baseline: Run, faults: Faults) -> Faults:
    called = {call.number for call in baseline.calls if options.operation in call.operation}
    return {
        number: tuple(kind for kind in kinds if options.kind in kind)
        for number, kinds in faults.items()
        if number in called
    }


def _baseline(n: int) -> Run:
    (made,) = sweep.run(FLOWS[n])
    return made


def _swept(n: int, faults: Faults, first: bool) -> tuple[Run, ...]:
    return sweep.run(FLOWS[n], lambda call: faults.get(call.number, ()), first)


if __name__ == "__main__":
    sys.exit(main())
