"""Run a program and watch it: wall time, processor time and the memory of all its processes together."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
# Reading how much memory a process shares costs milliseconds: more often would slow down what is measured.
SAMPLE_SECONDS = 0.2


@dataclass(frozen=True)
class Measured:
    """What one program took.

    Attributes:
        seconds: wall time from start to end.
        cpu_seconds: processor time, user and system, of it and all processes that it waited for.
        peak_mib: memory of all its processes together at its highest, in MiB; see `run`.
        output: what it printed.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float
    output: str


class FailedError(Exception):
    """A measured program failed; the message holds its last lines."""


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    before: Callable[[], object] | None = None,
) -> Measured:
    """Run a program and measure it.

    Memory is the sum of PSS (own pages, plus its part of the shared ones) over the process and its descendants,
    sampled every 0.2 s from /proc. A process that ends between two samples is seen by `ru_maxrss`, the highest RSS of
    the largest single process; the higher of the two counts. Without /proc it is `ru_maxrss` alone.

    Args:
        command: the program and its arguments.
        environment: more variables to set.
        folder: where it runs.
        before: called in the new process before the program starts, to limit it.

    Raises:
        FailedError: it ended with an error.
    """
    output = folder / "output.txt"
    with output.open("w", encoding="utf-8") as out:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            preexec_fn=before,
        )
        peak = 0
        sampled = started
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                seconds = time.perf_counter() - started
                process.returncode = os.waitstatus_to_exitcode(status)
                break
            if time.perf_counter() >= sampled:
                peak = max(peak, _tree_bytes(process.pid))
                sampled = time.perf_counter() + SAMPLE_SECONDS
            time.sleep(0.005)
    text = output.read_text(encoding="utf-8", errors="replace")
    if process.returncode:
        last = "\n".join(text.splitlines()[-25:])
        raise FailedError(f"{' '.join(command)} ended with code {process.returncode}:\n{last}")
    largest = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Measured(seconds, usage.ru_utime + usage.ru_stime, max(peak, largest) / 2**20, text)


def _tree_bytes(root: int) -> int:
    if not PROC.is_dir():
        return 0
    parents = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            # The program's name may hold spaces and brackets; the parent is the second field after it.
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    tree = {root}
    while grown := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= grown
    return sum(_process_bytes(pid) for pid in tree)


def _process_bytes(pid: int) -> int:
    try:
        rollup = (PROC / str(pid) / "smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return 0
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
