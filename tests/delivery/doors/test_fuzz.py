"""Requests made up from the service's own description: none breaks it, and each answer is one that it describes."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from benchmarks.database_servers import free_port
from tests.delivery.doors.conftest import House
from tests.delivery.doors.test_service import serve, wait_for

# For each of some twenty kinds of request.
EXAMPLES = int(os.environ.get("NEXT_AISLE_FUZZ_EXAMPLES", "500"))


@pytest.mark.slow
def test_no_request_breaks_it(own_house: House) -> None:
    port = free_port()
    service = serve(own_house.data, port, "--rate", "100000", "--burst", "100000")
    try:
        wait_for(port)
        fuzzed = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                "run",
                f"http://127.0.0.1:{port}/v1/openapi.json",
                *("--header", f"Authorization: Bearer {own_house.secrets['admin']}"),
                *("--checks", "not_a_server_error,status_code_conformance,content_type_conformance"),
                *("--phases", "examples,fuzzing", "--max-examples", str(EXAMPLES), "--request-timeout", "30"),
                *("--continue-on-failure", "--no-color"),
            ],
            capture_output=True,
            text=True,
            timeout=3_000,
        )
        assert fuzzed.returncode == 0, fuzzed.stdout[-6_000:]
        assert httpx.get(f"http://127.0.0.1:{port}/v1/ready").status_code == 200
    finally:
        service.terminate()
        service.wait(timeout=20)
