"""The crash lab: every AWS call of every flow is made to fail in turn, and what was promised is checked after each run.

    calls       numbers the calls that product code makes, and makes one of them fail
    sites       where the source makes such calls, read from the source: the list that the flows have to cover
    simulation  queues as template.yaml declares them, schedules and workers, on a clock that jumps
    invariants  what must hold at every instant, and at rest
    flows       what clients and workers do, as data
    sweep       a flow's baseline, then one run for each call and each kind of fault

`make crash-lab` runs all of it, tests/integration/test_crashlab.py the baselines and a sample.
"""
