"""python -m tests.crashlab [--every | --baseline] [--first] [--flow NAME] [--jobs N]

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
from functools import partial
from itertools import chain

from tests import conftest  # noqa: F401  the environment of the tests: no real credentials
from tests.crashlab import sites, sweep
from tests.crashlab.flows import FLOWS
from tests.crashlab.sweep import Run


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.crashlab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", action="store_true", help="also the calls that repeat one place more than that")
    parser.add_argument("--flow", default="", help="those whose name contains this")
    parser.add_argument("--baseline", action="store_true", help="no faults")
    parser.add_argument("--first", action="store_true", help="end a flow at its first violation")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args(arguments)
    began = time.monotonic()
    flows = [n for n, flow in enumerate(FLOWS) if options.flow in flow.name]
    with ProcessPoolExecutor(options.jobs) as pool:
        swept = pool.map(partial(_swept, options), flows)
        runs: list[Run] = []
        for made in swept:
            wrong = sum(bool(run.wrong) for run in made)
            print(f"{len(made) - 1:5} faults, {wrong} violations  {made[0].flow}", flush=True)
            runs += made
    return report(runs, whole=not options.flow, seconds=time.monotonic() - began)


def report(runs: list[Run], whole: bool, seconds: float) -> int:
    calls = list(chain.from_iterable(run.calls for run in runs))
    injected = [run for run in runs if run.fault]
    missing = sites.uncovered(calls) if whole else []
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


def _swept(options: argparse.Namespace, n: int) -> tuple[Run, ...]:
    (baseline,) = sweep.run(FLOWS[n])
    if baseline.wrong or options.baseline:
        return (baseline,)
    return sweep.run(FLOWS[n], sweep.all_faults(baseline.calls, options.every), options.first)


if __name__ == "__main__":
    sys.exit(main())
