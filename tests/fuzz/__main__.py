"""Random requests by OpenAPI documents, a vendor's and our own, against the running stack: `make fuzz-api`.

Every answer has to be one that the document promises, in its shape, and never a failure of the server; a key that is
left out or wrong has to be refused, and so has data that the document forbids.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from infra.local.stack import Stack

TESTS = Path(__file__).parent.parent
DOCUMENTS = (TESTS / "contract/upscayl.openapi.yaml", TESTS.parent / "docs/openapi.json")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "ignored_auth",
    "negative_data_rejection",
    # Not: unsupported_method, which wants 405 where API Gateway says 404, and positive_data_acceptance: a body
    # that fits the schema may name an upload that does not exist.
)
KEY = "fuzz"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--schemathesis", required=True, help="the command, of an environment of its own")
    parser.add_argument("--examples", type=int, default=1000, help="per operation")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with TemporaryDirectory() as state, Stack(state_dir=Path(state), parameters={}, api_key=KEY) as stack:
        commands = [
            [
                *(options.schemathesis, "run", str(document), "--url", stack.api_url),
                *("--header", f"X-API-Key: {KEY}", "--checks", ",".join(CHECKS), "--no-color"),
                *("--max-examples", str(options.examples), "--seed", str(options.seed)),
            ]
            for document in DOCUMENTS
        ]
        return max(subprocess.run(command, check=False).returncode for command in commands)


if __name__ == "__main__":
    sys.exit(main())
