"""Draw docs/asset-graph.svg from the committed snapshot of the asset graph, tests/orchestration/graph.json.

A band for each group of assets, top to bottom in the order in which data flows, with a box for each table. Arrows show
which groups read which. The picture has its own background, so it looks the same on light and dark pages. It is
as wide as a page on GitHub, so its text is not scaled down there.
"""

import json
from html import escape
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
SNAPSHOT = PROJECT / "tests" / "orchestration" / "graph.json"
PICTURE = PROJECT / "docs" / "asset-graph.svg"

# From top to bottom: the group, its colour, and what happens there.
GROUPS = {
    "landing": ("#64748b", "files, as the shop sends them"),
    "raw": ("#0e7490", "loaded by dlt, unchanged"),
    "staging": ("#0f766e", "every source in the same three shapes"),
    "intermediate": ("#a16207", "all sources together; which lines count as purchases"),
    "core": ("#1d4ed8", "customers, products, categories, baskets, purchases"),
    "cross_sell": ("#7e22ce", "what each customer is likely to buy next, and why"),
    "quality": ("#be123c", "what was rejected, and how good each run was"),
    "published": ("#15803d", "the file that readers open"),
}
WIDTH = 850
LEFT, RIGHT = 30, 796  # edges of the bands; arrows run outside of them
PADDING = 8
FONT_SIZE = 12
BOX_HEIGHT = 22
GAP = 5
BAND_GAP = 20
# Mean width of a character in a sans-serif font of this size, on the safe side.
CHARACTER = 6.6

Graph = dict[str, dict[str, Any]]


def main() -> None:
    """Write the picture."""
    graph: Graph = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    PICTURE.write_text(draw(graph), encoding="utf-8")
    print(PICTURE)


def draw(graph: Graph) -> str:
    """Draw the graph.

    Args:
        graph: asset key to what the snapshot says of the asset: its group and the assets that it depends on.

    Returns:
        The text of an SVG file.
    """
    published = _published(graph)
    shapes: list[str] = []
    bands: dict[str, tuple[float, float]] = {}
    top = 14.0
    for group, (color, meaning) in GROUPS.items():
        boxes, height = _boxes(_in_order(graph, group), published, color, top)
        bands[group] = (top, top + height)
        shapes.append(
            f'<rect x="{LEFT}" y="{top:g}" width="{RIGHT - LEFT}" height="{height:g}" rx="8" fill="{color}" '
            f'fill-opacity="0.07" stroke="{color}" stroke-opacity="0.45"/>'
            f'<text x="{LEFT + PADDING}" y="{top + 19:g}" fill="{color}" font-size="14" font-weight="700">{group}'
            f'<tspan fill="#475569" font-size="{FONT_SIZE}" font-weight="400" dx="8">{escape(meaning)}</tspan></text>'
        )
        shapes += boxes
        top += height + BAND_GAP
    shapes += _arrows(_group_edges(graph), bands)
    legend = "filled: a published table · outlined: inside the pipeline · dashed arrow: read back by an earlier group"
    shapes.append(f'<text x="{LEFT}" y="{top + 4:g}" fill="#475569" font-size="{FONT_SIZE}">{legend}</text>')
    height = top + 18
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" '
            f'viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" '
            'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" role="img" '
            'aria-label="How data flows from the landed files to the published tables">',
            "<!-- Drawn by docs/asset_graph.py from tests/orchestration/graph.json. -->",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
            '<path d="M0 0L8 4L0 8z" fill="#475569"/></marker></defs>',
            f'<rect width="{WIDTH}" height="{height:g}" rx="10" fill="#ffffff"/>',
            *shapes,
            "</svg>\n",
        ]
    )


def _published(graph: Graph) -> set[str]:
    """The published file and the tables in it."""
    tables = graph["published/next_aisle"]["depends_on"]
    return {"published/next_aisle", *(key for key in tables if "dbt" in graph[key]["kinds"])}


def _in_order(graph: Graph, group: str) -> list[str]:
    """List a group's assets: published tables first, then the others in the order in which they are built."""
    published = _published(graph)
    depths: dict[str, int] = {}

    def depth(key: str) -> int:
        if key not in depths:
            depths[key] = 1 + max((depth(parent) for parent in graph[key].get("depends_on", [])), default=0)
        return depths[key]

    keys = [key for key in graph if graph[key]["group"] == group]
    return sorted(keys, key=lambda key: (key not in published, depth(key), key))


def _boxes(keys: list[str], published: set[str], color: str, top: float) -> tuple[list[str], float]:
    """Arrange the boxes of a band in rows; return them and the height of the band."""
    shapes = []
    x, y = float(LEFT + PADDING), top + 29
    was_published = keys[0] in published
    for key in keys:
        name = key if key.startswith("history/") else key.rpartition("/")[2]
        width = len(name) * CHARACTER + 16
        if x + width > RIGHT - PADDING or (was_published and key not in published):
            x, y = LEFT + PADDING, y + BOX_HEIGHT + GAP
        was_published = key in published
        fill, ink = (color, "#ffffff") if was_published else ("#ffffff", "#0f172a")
        shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{BOX_HEIGHT}" rx="4" fill="{fill}" stroke="{color}"/>'
            f'<text x="{x + width / 2:g}" y="{y + 15:g}" text-anchor="middle" fill="{ink}" font-size="{FONT_SIZE}">'
            f"{escape(name)}</text>"
        )
        x += width + GAP
    return shapes, y + BOX_HEIGHT + PADDING - top


def _group_edges(graph: Graph) -> dict[str, set[str]]:
    """List for each group the other groups that it reads."""
    edges: dict[str, set[str]] = {group: set() for group in GROUPS}
    for asset in graph.values():
        for parent in asset.get("depends_on", []):
            if graph[parent]["group"] != asset["group"]:
                edges[asset["group"]].add(graph[parent]["group"])
    return edges


def _arrows(edges: dict[str, set[str]], bands: dict[str, tuple[float, float]]) -> list[str]:
    """Draw a straight arrow to the next band, and one line with several origins to any other."""
    order = list(bands)
    shapes = []
    lane_right, lane_left = RIGHT + 14, LEFT - 14
    for group, origins in edges.items():
        position = order.index(group)
        earlier = {origin for origin in origins if order.index(origin) < position - 1}
        later = {origin for origin in origins if order.index(origin) > position}
        if position and order[position - 1] in origins:
            start, end = bands[order[position - 1]][1], bands[group][0]
            shapes.append(_line(f"M{WIDTH / 2:g} {start:g}V{end - 1:g}", "", tip=True))
        if earlier:
            shapes += _bus(earlier, group, bands, RIGHT, lane_right, "")
            lane_right += 14
        if later:
            shapes += _bus(later, group, bands, LEFT, lane_left, ' stroke-dasharray="4 3"')
            lane_left -= 10
    return shapes


def _bus(
    origins: set[str], group: str, bands: dict[str, tuple[float, float]], edge: float, lane: float, style: str
) -> list[str]:
    """Draw a line from several bands, along a lane outside of them, into one."""
    # Lanes that meet the same band do so at different heights.
    offset = abs(lane - edge) - 14
    target = sum(bands[group]) / 2 + offset / 2
    shapes = []
    for origin in sorted(origins):
        start = sum(bands[origin]) / 2 - offset / 2 - 6
        tip = origin == min(origins)
        end = f"H{edge + (1 if lane > edge else -1):g}" if tip else ""
        shapes.append(_line(f"M{edge:g} {start:g}H{lane:g}V{target:g}{end}", style, tip=tip))
    return shapes


def _line(path: str, style: str, *, tip: bool) -> str:
    marker = ' marker-end="url(#tip)"' if tip else ""
    return f'<path d="{path}" fill="none" stroke="#475569" stroke-width="1.4"{style}{marker}/>'


if __name__ == "__main__":
    main()
