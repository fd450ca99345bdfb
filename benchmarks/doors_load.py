"""Mixed load on the service for a long time: what fails, how long each kind of request takes, and its memory.

Clients ask for customers' lists, metrics, pages of tables, whole files, pages for people and agents' tools, in any
order, while a new publication takes its place now and then.
"""

import contextlib
import json
import random
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

# Clients at once, and how long each thinks between two requests, in seconds: about 60 requests a second in all.
CLIENTS = 8
THINKING = 0.1
# Publications are this far apart, in seconds, or a third of the run.
PUBLISHED_EVERY = 300
MEMORY_MEGABYTES = 500

AGENT = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}


@dataclass
class Load:
    """What came of it.

    Attributes:
        taken: kind of request to milliseconds of each.
        wrong: what did not succeed, the first twenty in words.
        memory: seconds since the start, and MiB then.
    """

    taken: dict[str, list[float]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    failures: int = 0

    @property
    def highest(self) -> float:
        """The most memory that was seen, in MiB."""
        return max((megabytes for _, megabytes in self.memory), default=0.0)


def kinds(keys: list[str], categories: list[str], questions: list[str]) -> list[tuple[str, int, Any]]:
    """The kinds of requests, how often each comes among all, and how each is made.

    Args:
        keys: of customers.
        categories: keys of them.
        questions: for metrics.
    """

    def tool(client: httpx.Client, chance: random.Random) -> httpx.Response:
        call = {"name": "get_category_customers", "arguments": {"category": chance.choice(categories), "limit": 50}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        return client.post("/mcp", json=body, headers=AGENT)

    def paging(client: httpx.Client, chance: random.Random) -> httpx.Response:
        path, cursor = "/v1/tables/cross_sell.customer_opportunities", None
        for _ in range(chance.randint(2, 6)):
            answer = client.get(path, params={"limit": 500} | ({"cursor": cursor} if cursor else {}))
            if answer.status_code != 200:
                break
            cursor = answer.json()["next"]
        return answer

    def page(client: httpx.Client, chance: random.Random) -> httpx.Response:
        paths = ["/", "/opportunities", "/quality", "/data", "/track-record"]
        paths += [f"/customer/{chance.choice(keys)}", f"/category/{chance.choice(categories)}"]
        return client.get(chance.choice(paths))

    def file(client: httpx.Client, chance: random.Random) -> httpx.Response:
        style = chance.choice(["csv", "parquet", "xlsx"])
        return client.get("/v1/tables/cross_sell.customer_opportunities", params={"format": style})

    return [
        (
            "a customer's list",
            50,
            lambda client, chance: client.get(f"/v1/customers/{chance.choice(keys)}/opportunities"),
        ),
        ("a metric", 20, lambda client, chance: client.get(f"/v1/query?{chance.choice(questions)}")),
        ("pages of a table", 10, paging),
        ("a page for people", 10, page),
        ("an agent's tool", 8, tool),
        ("a whole file", 2, file),
    ]


def run(
    client: Callable[[], httpx.Client],
    asked: list[tuple[str, int, Any]],
    megabytes: Callable[[], float],
    publish: Callable[[], None],
    seconds: float,
) -> Load:
    """Ask for a while.

    Args:
        client: makes one, with a token and a session of the pages.
        asked: as `kinds` gives them.
        megabytes: what the service holds in memory now.
        publish: puts a new publication in place.
        seconds: for how long.
    """
    load, lock, ends = Load(), threading.Lock(), time.monotonic() + seconds
    started = time.monotonic()

    def ask(number: int) -> None:
        chance = random.Random(number)
        with contextlib.closing(client()) as mine:
            while time.monotonic() < ends:
                [(name, _, make)] = chance.choices(asked, weights=[weight for _, weight, _ in asked])
                began = time.perf_counter()
                try:
                    answer = make(mine, chance)
                    problem = "" if answer.status_code == 200 else f"{answer.status_code} {answer.text[:200]}"
                except httpx.HTTPError as error:
                    problem = repr(error)
                with lock:
                    load.taken.setdefault(name, []).append(1000 * (time.perf_counter() - began))
                    if problem:
                        load.failures += 1
                        if len(load.wrong) < 20:
                            load.wrong.append(f"{name}: {problem}")
                time.sleep(chance.uniform(0, 2 * THINKING))

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(ask, number) for number in range(CLIENTS)]
        every = min(PUBLISHED_EVERY, seconds / 3)
        next_publication = started + every
        while (now := time.monotonic()) < ends:
            load.memory.append((now - started, megabytes()))
            if now >= next_publication:
                publish()
                next_publication += every
            time.sleep(min(1.0, max(0.0, ends - now)))
        for each in clients:
            each.result()
    return load


def picture(load: Load, file: Path) -> None:
    """Draw the memory over time.

    Args:
        load: as `run` gives it.
        file: an SVG, which is replaced.
    """
    import vl_convert

    # A point for each of at most 2,000 moments: the highest of those around it.
    step = max(1, len(load.memory) // 2_000)
    points = [
        {"minutes": load.memory[begin][0] / 60, "MiB": max(each for _, each in load.memory[begin : begin + step])}
        for begin in range(0, len(load.memory), step)
    ]
    x = {"field": "minutes", "type": "quantitative", "title": "minutes"}
    limit = {"mark": {"type": "rule", "strokeDash": [4, 4]}, "encoding": {"y": {"datum": MEMORY_MEGABYTES}}}
    line = {"mark": "line", "encoding": {"x": x, "y": {"field": "MiB", "type": "quantitative"}}}
    specification = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": "Memory of the service under mixed load, and what it may have",
        "width": 640,
        "height": 260,
        "data": {"values": points},
        "layer": [line, limit],
    }
    file.write_text(vl_convert.vegalite_to_svg(json.dumps(specification)), encoding="utf-8")


def report(load: Load) -> list[str]:
    """Say what came of it, a line for each kind of request.

    Args:
        load: as `run` gives it.
    """
    lines = []
    for name, taken in sorted(load.taken.items()):
        parts = statistics.quantiles(taken, n=100, method="inclusive") if len(taken) > 1 else taken * 99
        times = f"median {statistics.median(taken):7.1f} ms   p95 {parts[94]:7.1f} ms   p99 {parts[98]:7.1f} ms"
        lines.append(f"{name:24} {len(taken):7} requests   {times}")
    lines.append(f"{'memory, at most':24} {load.highest:7.0f} MiB (may have {MEMORY_MEGABYTES})")
    lines.append(f"{'failed':24} {load.failures:7} requests")
    return [*lines, *load.wrong]
