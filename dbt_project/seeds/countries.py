# /// script
# requires-python = ">=3.11"
# dependencies = ["babel==2.18.0", "hdx-python-country==4.2.5"]
# ///
"""Write the seed countries.csv: every country of ISO 3166-1 with its names and its region.

Run it with `uv run dbt_project/seeds/countries.py` after raising a version above; uv installs the two libraries for the
script alone. Babel has the names as people write them (Unicode's CLDR), hdx-python-country the codes, the regions and
the official names of the United Nations (M49).
"""

import csv
from importlib.metadata import version
from pathlib import Path

from babel import Locale  # type: ignore[import-untyped]
from hdx.location.country import Country  # type: ignore[import-not-found]

SEED = Path(__file__).with_suffix(".csv")
COLUMNS = ("country_code", "alpha3_code", "country_name", "official_name", "region", "subregion", "version")


def main() -> None:
    """Write the file, one line for each country in the order of the codes."""
    names = Locale("en").territories
    libraries = ("babel", "hdx-python-country")
    versions = " and ".join(f"{library} {version(library)}" for library in libraries)
    rows = [
        (
            country["ISO 3166-1 Alpha 2-Codes"],
            alpha3_code,
            names[country["ISO 3166-1 Alpha 2-Codes"]],
            country["M49 English"] or country["Preferred Term"],
            country["Region Name"],
            country["Sub-region Name"],
            versions,
        )
        for alpha3_code, country in Country.countriesdata(use_live=False)["countries"].items()
    ]
    with SEED.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(sorted(rows))


if __name__ == "__main__":
    main()
