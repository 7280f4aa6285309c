"""The one-machine stack: the same template.yaml and the same handlers as in the cloud, on 127.0.0.1 only.

Start it with `python -m infra.local serve`, or in a test with `with Stack(...) as stack:` from `infra.local.stack`.
"""
