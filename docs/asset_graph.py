"""Take docs/asset-graph.png from the running UI (make ui), with a headless Chromium."""

import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

GROUPS = ("landing", "raw", "staging", "intermediate", "core", "quality", "published")
PICTURE = Path(__file__).parent / "asset-graph.png"


def main() -> None:
    """Open the lineage with all groups unfolded and save what it shows."""
    unfolded = quote(",".join(f"global@global:{group}" for group in GROUPS), safe="")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                f"--user-data-dir={profile}",
                "--window-size=2400,2500",
                "--virtual-time-budget=30000",
                f"--screenshot={PICTURE}",
                f"http://localhost:3000/asset-groups?expanded={unfolded}",
            ],
            check=True,
            capture_output=True,
        )
    print(PICTURE)


if __name__ == "__main__":
    main()
