"""docs/metrics.md lists what there is, in the words of the definitions."""

import os
import re
from pathlib import Path
from typing import Any

from tests.conftest import PROJECT_DIR
from tests.metrics.conftest import Shop

PAGE = PROJECT_DIR / "docs" / "metrics.md"


def metric_table(manifest: dict[str, Any], dimensions: dict[str, list[str]]) -> str:
    lines = ["| metric | meaning | unit | type | defined in | by |", "|---|---|---|---|---|---|"]
    for metric in sorted(manifest["metrics"].values(), key=lambda metric: metric["name"]):
        if metric["type_params"].get("is_private"):
            continue
        entities = {path.rpartition("__")[0].partition("__")[0] for path in dimensions[metric["name"]]} - {""}
        model = Path(metric["original_file_path"]).stem
        meaning = f"**{metric['label']}.** {' '.join(metric['description'].split())}"
        unit = metric["config"]["meta"]["unit"]
        by = ", ".join(sorted(entities))
        lines.append(f"| `{metric['name']}` | {meaning} | {unit} | {metric['type']} | {model} | {by} |")
    return "\n".join(lines)


def query_table(manifest: dict[str, Any]) -> str:
    lines = ["| saved query | what it says |", "|---|---|"]
    for query in sorted(manifest["saved_queries"].values(), key=lambda query: query["name"]):
        lines.append(f"| `{query['name']}` | {query['description']} |")
    return "\n".join(lines)


def test_the_page_lists_every_metric_and_saved_query_as_defined(manifest: dict[str, Any], shop: Shop) -> None:
    [dimensions] = shop.ask(["dimensions"])
    text = PAGE.read_text(encoding="utf-8")
    now = text
    for mark, table in (("", metric_table(manifest, dimensions)), (" saved", query_table(manifest))):
        now = re.sub(
            rf"(<!-- begin{mark}: [^\n]*-->\n).*?(<!-- end{mark} -->)",
            lambda match, table=table: f"{match[1]}{table}\n{match[2]}",  # type: ignore[misc]
            now,
            flags=re.DOTALL,
        )
    if os.environ.get("UPDATE_SNAPSHOT"):
        PAGE.write_text(now, encoding="utf-8")
        text = now
    assert text == now, "look at the change, then: UPDATE_SNAPSHOT=1 uv run pytest tests/metrics/test_docs.py"
    assert text.count("\n| `") > 40
