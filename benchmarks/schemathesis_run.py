"""Fuzz the whole OpenAPI document of a running server: no 5xx, no undocumented answer.

    python benchmarks/schemathesis_run.py [--max-examples 50] [--role user]

Starts a server over a new data folder with one user and one structure, and runs schemathesis
against every route with an API key, but for the streams of events, whose answers do not end (their
tests are in tests/api/test_events.py). Ends with schemathesis's exit status.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from api import prepare, server

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    # not ignored_auth: it sends a false bearer token beside the true API key, and one holds
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--max-examples", type=int, default=50, help="for each route and phase")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--include", help="only routes whose path matches")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        key, _ = prepare(Path(folder))
        with server(Path(folder)) as port:
            command = [
                str(Path(sys.executable).with_name("schemathesis")),
                "run",
                f"http://127.0.0.1:{port}/openapi.json",
                f"--header=X-API-Key: {key}",
                f"--max-examples={options.max_examples}",
                f"--seed={options.seed}",
                f"--checks={','.join(CHECKS)}",
                "--phases=examples,coverage,fuzzing",
                "--request-timeout=60",
                "--exclude-path-regex=/events$",
                "--suppress-health-check=all",
                *([f"--include-path-regex={options.include}"] if options.include else []),
            ]
            return subprocess.run(command, check=False, env=dict(os.environ)).returncode


if __name__ == "__main__":
    sys.exit(main())
