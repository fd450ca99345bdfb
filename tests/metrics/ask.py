"""Asks MetricFlow many questions in one process, for it takes seconds to start. All are lines of JSON.

A program of its own, run in the folder of the dbt project: MetricFlow looks for its files there.
"""

import datetime as dt
import json
import sys
from decimal import Decimal
from typing import Any

from dbt_metricflow.cli.cli_configuration import CLIConfiguration
from metricflow.engine.metricflow_engine import MetricFlowQueryRequest


def plain(value: Any) -> Any:
    """Numbers as numbers, days as text."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dt.datetime | dt.date):
        return f"{value:%Y-%m-%d}"
    return value


def main() -> None:
    configuration = CLIConfiguration()
    configuration.setup(configure_file_logging=False)
    for line in sys.stdin:
        question = json.loads(line)
        if question == "dimensions":
            metrics = configuration.mf.list_metrics()
            answer: Any = {
                metric.name: sorted({dimension.granularity_free_dunder_name for dimension in metric.dimensions})
                for metric in metrics
            }
        else:
            try:
                table = configuration.mf.query(MetricFlowQueryRequest.create(**question)).result_df
                assert table is not None
                rows = [[plain(value) for value in row] for row in table.rows]
                answer = {"columns": list(table.column_names), "rows": rows}
            except Exception as error:
                answer = {"error": str(error)}
        print("answer " + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
