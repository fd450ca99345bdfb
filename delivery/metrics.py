"""Metrics for a role: MetricFlow, loaded once, writes the SQL; what the role may not see is refused or masked here.

MetricFlow is given dbt's semantic manifest and no database: it only compiles. For each table with customers it gets one
more metric, how many customers are behind a group, by which small groups are left out.
"""

import functools
import json
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metricflow.engine.metricflow_engine import MetricFlowEngine, MetricFlowQueryRequest
from metricflow.protocols.sql_client import SqlEngine
from metricflow.sql.render.duckdb_renderer import DuckDbSqlPlanRenderer
from metricflow_semantics.errors.error_classes import MetricFlowException
from metricflow_semantics.model.dbt_manifest_parser import parse_manifest_from_dbt_generated_manifest
from metricflow_semantics.model.semantic_manifest_lookup import SemanticManifestLookup
from sqlglot import exp

from delivery import conditions
from delivery.errors import InvalidQuestionError, RefusedError, UnknownNameError
from delivery.fast_sql import quickened
from delivery.policy import CUSTOMER, GROUP_SIZE, HASH_FUNCTION, IDENTIFIER, Action, Policy, Role, Table, actions
from warehouse.sql import quote_name

# Of the metrics that count the customers behind a group.
BEHIND = "customers_behind__"
# What the name of a metric that rolls over time begins with there.
ROLLING = "rolling_"
GRAINS = ("day", "week", "month", "quarter", "year")
METRIC_TIME = "metric_time"

# The column of the groups that are left out; no metric or dimension can have its name.
LEFT_OUT = "groups left out"


@dataclass(frozen=True)
class Metric:
    """A metric that can be asked for.

    Attributes:
        name: its name.
        label: as people call it.
        description: what it is.
        unit: of its values, such as currency or share.
        needs_time: whether it can only be asked by metric_time.
    """

    name: str
    label: str
    description: str
    unit: str | None
    needs_time: bool


@dataclass(frozen=True)
class Dimension:
    """Something that metrics can be asked by.

    Attributes:
        name: its name in a question, such as customer__rfm_segment.
        label: as people call it.
        description: what it is.
        kind: categorical, time (with a grain, as name__month) or key.
        type: data type of its column.
        table: the published table whose column it is, as schema.table; None for metric_time.
        column: the column; None for metric_time.
    """

    name: str
    label: str
    description: str
    kind: str
    type: str
    table: str | None
    column: str | None


@dataclass(frozen=True)
class Question:
    """A question for metrics.

    Attributes:
        metrics: their names.
        group_by: dimensions; time ones with a grain.
        where: conditions on dimensions, all of which must hold.
        order_by: names of metrics or dimensions of the question, with - in front for the highest first.
        limit: rows at most; None: as many as the door gives.
    """

    metrics: tuple[str, ...]
    group_by: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    order_by: tuple[str, ...] = ()
    limit: int | None = None


@dataclass(frozen=True)
class Compiled:
    """A question as SQL on a role's connection.

    Attributes:
        sql: it gives the columns of the question, and nothing that the role may not see.
        tables: the published tables behind it, as schema.table.
        left_out: SQL that counts the groups that are left out as too small; None where the role has no minimum. `sql`
            has the same number as one more column, LEFT_OUT, of each row that is shown.
    """

    sql: str
    tables: frozenset[str]
    left_out: str | None


class _Client:
    """What MetricFlow asks of a database to write SQL for it."""

    sql_engine_type = SqlEngine.DUCKDB
    sql_plan_renderer = DuckDbSqlPlanRenderer()


class SemanticLayer:
    """The metrics of one version of the dbt project, for all roles.

    Args:
        semantic_manifest: dbt's semantic_manifest.json.
        policy: who may see what.
        tables: the published tables as dbt's metadata describes them.
    """

    def __init__(self, semantic_manifest: Path, policy: Policy, tables: Iterable[Table]) -> None:
        self.policy = policy
        self.tables = {table.full_name: table for table in tables}
        document = json.loads(semantic_manifest.read_text(encoding="utf-8"))
        self._models = {model["name"]: model for model in document["semantic_models"]}
        self._metrics = {metric["name"]: metric for metric in document["metrics"]}
        self._add_counts(document)
        self._engine = MetricFlowEngine(
            SemanticManifestLookup(parse_manifest_from_dbt_generated_manifest(json.dumps(document))),
            _Client(),  # type: ignore[arg-type]
        )
        # MetricFlow numbers its aliases for the whole process.
        self._lock = threading.Lock()
        self.saved_queries = {query["name"]: query for query in document["saved_queries"]}
        self._group_bys = functools.cache(self._find_group_bys)
        self._sql = functools.lru_cache(maxsize=2_000)(self._compile)
        self._actions = functools.cache(lambda role, table: actions(policy, role, self.tables[table]))
        self._offered = functools.cache(self._find_offered)
        self.metrics = {
            name: self._described(metric)
            for name, metric in sorted(self._metrics.items())
            if not metric["type_params"].get("is_private")
        }

    def warm(self) -> None:
        """Find out what each metric can be asked by, which takes MetricFlow longest the first time."""
        for name in self.metrics:
            self._group_bys((name,))

    def metrics_of(self, role: Role) -> list[Metric]:
        """List the metrics of a role: those whose tables it may ask.

        Args:
            role: a role of the policy.
        """
        return [metric for name, metric in self.metrics.items() if self._may_ask(role, self._tables_of(name))]

    def dimensions_of(self, role: Role, metrics: Sequence[str]) -> list[Dimension]:
        """List what metrics can be asked by, all of them together.

        Args:
            role: a role of the policy.
            metrics: names of metrics.

        Raises:
            UnknownNameError: the role has no such metric.
        """
        self._check_metrics(role, metrics)
        found = self._group_bys(tuple(sorted(set(metrics))))
        return [dimension for dimension in found.values() if self._action(role, dimension) is not Action.DROP]

    def saved(self, name: str) -> Question:
        """Read a saved query.

        Args:
            name: its name.

        Raises:
            UnknownNameError: there is none of that name.
        """
        if name not in self.saved_queries:
            raise UnknownNameError(f"there is no saved query {name[:80]}", wanted=name, names=self.saved_queries)
        parameters = self.saved_queries[name]["query_params"]
        filters = (parameters["where"] or {}).get("where_filters", [])
        return Question(
            metrics=tuple(parameters["metrics"]),
            group_by=tuple(_plain_name(item) for item in parameters["group_by"]),
            where=tuple(each["where_sql_template"] for each in filters),
            order_by=tuple(
                ("-" if "descending(True)" in item else "") + _plain_name(item) for item in parameters["order_by"] or []
            ),
            limit=parameters["limit"],
        )

    def compile(self, role: Role, question: Question) -> Compiled:
        """Write the SQL of a question for a role.

        Args:
            role: a role of the policy.
            question: the question.

        Raises:
            UnknownNameError: the role has no such metric or dimension.
            RefusedError: the role may not ask that.
            InvalidQuestionError: the question makes no sense.
        """
        self._check_metrics(role, question.metrics)
        known = {dimension.name: dimension for dimension in self.dimensions_of(role, question.metrics)}
        grouped = [self._grouped(item, known, question.metrics) for item in question.group_by]
        if len(set(question.group_by)) < len(question.group_by) or len(set(question.metrics)) < len(question.metrics):
            raise InvalidQuestionError("name each metric and each dimension once")
        for dimension, item in zip(grouped, question.group_by, strict=True):
            if self._is_identifier(dimension) and not role.customer_rows:
                raise RefusedError(f"your role sees customers in sums only, so that it cannot ask by {item}")
        where = tuple(self._condition(role, text, known) for text in question.where)
        behind = self._behind(question.metrics) if role.minimum_group > 1 else ()
        sql = self._sql((*question.metrics, *behind), question.group_by, where)
        outputs = []
        for item, dimension in zip(question.group_by, grouped, strict=True):
            masked = quote_name(item)
            if dimension.kind == "time":
                # MetricFlow gives a day or a time, by how it joins.
                masked = f"{masked}::date as {masked}"
            elif self._is_identifier(dimension) and self._action(role, dimension) is Action.HASH:
                masked = f"{HASH_FUNCTION}({masked}::varchar) as {masked}"
            outputs.append(masked)
        outputs += [quote_name(metric) for metric in question.metrics]
        order = self._order(question)
        groups = ", ".join(quote_name(item) for item in question.group_by) or "1"
        if not behind:
            rows, left_out = f"from ({sql}\n) as answer", None
        else:
            smallest = f"least({', '.join(quote_name(name) for name in behind)})"
            # A group that is left out could be had as the difference of the sum and the others: where all that are left
            # out are together too few as well, the smallest of the others goes with them.
            too_few = f"customers_behind between 1 and {role.minimum_group - 1}"
            rows = (
                "from (select *, "
                f"sum(customers_behind) filter ({too_few}) over () as left_out_in_all, "
                f"row_number() over (partition by coalesce(customers_behind, 0) < {role.minimum_group} "
                f"order by customers_behind, {groups}) as position "
                f"from (select *, {smallest} as customers_behind from ({sql}\n) as answer) as counted) as judged"
            )
            shown = (
                f"(coalesce(customers_behind, 0) = 0 or (customers_behind >= {role.minimum_group} "
                f"and not (coalesce(left_out_in_all, {role.minimum_group}) < {role.minimum_group} and position = 1)))"
            )
            left_out = f"select count(*) {rows} where not {shown}"
            in_all = f"count(*) filter (not {shown}) over () as {quote_name(LEFT_OUT)}"
            rows = f"from (select *, {shown} as is_shown, {in_all} {rows}) as marked where is_shown"
            outputs.append(quote_name(LEFT_OUT))
        limit = "" if question.limit is None else f" limit {int(question.limit)}"
        return Compiled(
            f"select * from (select {', '.join(outputs)} {rows}) as answer{order}{limit}",
            frozenset().union(
                *(self._tables_of(name) for name in question.metrics),
                *({dimension.table} for dimension in grouped if dimension.table),
            ),
            left_out,
        )

    def values(self, role: Role, name: str) -> tuple[str, str, str]:
        """Find the table, column and type whose values a dimension has.

        Args:
            role: a role of the policy.
            name: the dimension's name.

        Returns:
            schema.table, column and type.

        Raises:
            UnknownNameError: the role has no such dimension.
            RefusedError: its values say who a customer is.
        """
        dimensions = self._offered(role)
        if name not in dimensions:
            raise UnknownNameError(f"there is no dimension {name[:80]}", wanted=name, names=dimensions)
        dimension = dimensions[name]
        if dimension.table is None or dimension.column is None or dimension.kind == "key":
            raise InvalidQuestionError(f"{name} has no list of values: ask a metric by it")
        if self._is_identifier(dimension):
            raise RefusedError(f"the values of {name} say who a customer is")
        return dimension.table, dimension.column, dimension.type

    def _find_offered(self, role: Role) -> dict[str, Dimension]:
        """All dimensions by which any metric of a role can be asked."""
        return {
            found.name: found
            for metric in self.metrics_of(role)
            for found in self._group_bys((metric.name,)).values()
            if self._action(role, found) is not Action.DROP
        }

    def _check_metrics(self, role: Role, metrics: Sequence[str]) -> None:
        allowed = [metric.name for metric in self.metrics_of(role)]
        if not metrics:
            raise InvalidQuestionError("name at least one metric")
        for name in metrics:
            if name not in allowed:
                raise UnknownNameError(f"there is no metric {name[:80]}", wanted=name, names=allowed)

    def _may_ask(self, role: Role, tables: Iterable[str]) -> bool:
        return all(role.may_ask(*table.split(".")) for table in tables)

    def _grouped(self, item: str, known: Mapping[str, Dimension], metrics: Sequence[str]) -> Dimension:
        name, _, grain = item.rpartition("__")
        if grain in GRAINS and name in known and known[name].kind == "time":
            return known[name]
        if item in known:
            if known[item].kind != "time":
                return known[item]
            raise InvalidQuestionError(f"{item} needs a grain: {', '.join(f'{item}__{grain}' for grain in GRAINS)}")
        names = [
            *(name for name, dimension in known.items() if dimension.kind != "time"),
            *(f"{name}__{grain}" for name, dimension in known.items() if dimension.kind == "time" for grain in GRAINS),
        ]
        raise UnknownNameError(
            f"{', '.join(metrics)} cannot be asked by {item[:80]}", wanted=item, names=sorted(names, key=len)
        )

    def _condition(self, role: Role, text: str, known: Mapping[str, Dimension]) -> str:
        columns: dict[str, str] = {}
        for name, dimension in known.items():
            # A hash is no value to compare with: keys are compared before they are hashed.
            if self._is_identifier(dimension) and self._action(role, dimension) is not Action.SHOW:
                continue
            if self._is_identifier(dimension) and not role.customer_rows:
                continue
            if dimension.kind == "time":
                columns |= {f"{name}__{grain}": "date" for grain in GRAINS}
            columns[name] = "date" if dimension.kind == "time" else dimension.type

        def rendered(name: str) -> exp.Expr:
            base, _, grain = name.rpartition("__")
            if grain in GRAINS and base in known:
                return exp.Var(this=f"{{{{ TimeDimension('{base}', '{grain}') }}}}")
            dimension = known[name]
            if dimension.kind == "time":
                return exp.Var(this=f"{{{{ TimeDimension('{name}', 'day') }}}}")
            return exp.Var(this=f"{{{{ {'Entity' if dimension.kind == 'key' else 'Dimension'}('{name}') }}}}")

        return conditions.parse(text, columns, rendered).sql(dialect="duckdb")

    def _order(self, question: Question) -> str:
        outputs = [*question.group_by, *question.metrics]
        wanted = []
        for item in question.order_by:
            name = item.removeprefix("-")
            if name not in outputs:
                raise UnknownNameError(
                    f"order by a metric or dimension of the question, not by {name[:80]}", wanted=name, names=outputs
                )
            wanted.append(f"{quote_name(name)} {'desc' if item.startswith('-') else 'asc'} nulls last")
        # The rest in its own order, so that the same question gives the same rows in the same order.
        wanted += [f"{quote_name(name)} nulls last" for name in question.group_by]
        return f" order by {', '.join(wanted)}" if wanted else ""

    def _compile(self, metrics: tuple[str, ...], group_by: tuple[str, ...], where: tuple[str, ...]) -> str:
        request = MetricFlowQueryRequest.create(
            metric_names=metrics, group_by_names=group_by, where_constraints=where or None
        )
        try:
            with self._lock:
                sql = str(self._engine.explain(request).sql_statement.without_descriptions.sql)
        except MetricFlowException as error:
            raise InvalidQuestionError(_reason(str(error))) from error
        return quickened(sql)

    def _find_group_bys(self, metrics: tuple[str, ...]) -> dict[str, Dimension]:
        with self._lock:
            items = self._engine.list_group_bys(list(metrics))
        found: dict[str, Dimension] = {}
        for item in items:
            name = getattr(item, "dunder_name", item.name)
            is_time = getattr(getattr(item, "type", None), "name", "") == "TIME"
            if is_time:
                # One for each grain; here the grain is part of the question.
                name = re.sub(rf"__({'|'.join(GRAINS)})$", "", name)
            if name == METRIC_TIME:
                label, description = "Time", "When it happened: the day of the purchase, of the score, or the like."
                found[name] = Dimension(name, label, description, "time", "date", None, None)
            elif name not in found and item.semantic_model_reference is not None:
                relation = self._models[item.semantic_model_reference.semantic_model_name]["node_relation"]
                table = f"{relation['schema_name']}.{relation['alias']}"
                column = str(item.expr or item.name)
                kind = "time" if is_time else "categorical" if hasattr(item, "dunder_name") else "key"
                types = {each.name: each.type for each in self.tables[table].columns} if table in self.tables else {}
                # One that is computed in the manifest has no column of its own, and is offered to no role.
                if column in types:
                    label = getattr(item, "label", None) or item.name.replace("_", " ").capitalize()
                    description = " ".join((item.description or "").split())
                    found[name] = Dimension(name, label, description, kind, types[column], table, column)
        return dict(sorted(found.items(), key=lambda each: (each[0].count("__"), each[0])))

    def _action(self, role: Role, dimension: Dimension) -> Action:
        if dimension.table is None or dimension.column is None:
            return Action.SHOW
        if not role.may_ask(*dimension.table.split(".")):
            return Action.DROP
        action: Action = self._actions(role, dimension.table)[dimension.column]
        # An identifier is as it is in the views for metrics, and null would merge all customers.
        return Action.DROP if action is Action.NULL and self._is_identifier(dimension) else action

    def _is_identifier(self, dimension: Dimension) -> bool:
        if dimension.table is None:
            return False
        columns = {column.name: column for column in self.tables[dimension.table].columns}
        tags = columns[str(dimension.column)].tags
        return tags is None or IDENTIFIER in tags

    def _described(self, metric: Mapping[str, Any]) -> Metric:
        meta = (metric.get("config") or {}).get("meta") or {}
        return Metric(
            metric["name"],
            metric.get("label") or metric["name"],
            " ".join((metric.get("description") or "").split()),
            meta.get("unit"),
            metric["type"] == "cumulative" or any(each.get("offset_window") for each in self._inputs(metric)),
        )

    def _inputs(self, metric: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The metrics that one is made of."""
        parameters = metric["type_params"]
        found = [*(parameters.get("metrics") or []), parameters.get("numerator"), parameters.get("denominator")]
        found.append((parameters.get("cumulative_type_params") or {}).get("metric"))
        return [each for each in found if each]

    def _leaves(self, name: str) -> set[tuple[str, str | None]]:
        """The semantic models behind a metric, each with its shift in time, or the metric that rolls over it."""
        metric = self._metrics[name]
        inputs = self._inputs(metric)
        if not inputs:
            return {(metric["type_params"]["metric_aggregation_params"]["semantic_model"], None)}
        found: set[tuple[str, str | None]] = set()
        if metric["type"] == "cumulative":
            # Of a day without purchases, the customers of its whole window count.
            found = {(model, f"{ROLLING}{name}") for model, _ in self._leaves(inputs[0]["name"])}
        for each in inputs:
            window = each.get("offset_window")
            shift = f"{window['count']}_{window['granularity']}" if window else None
            found |= {(model, shift or inner) for model, inner in self._leaves(each["name"])}
        return found

    def _tables_of(self, name: str) -> set[str]:
        relations = [self._models[model]["node_relation"] for model, _ in self._leaves(name)]
        return {f"{relation['schema_name']}.{relation['alias']}" for relation in relations}

    def _behind(self, metrics: Iterable[str]) -> tuple[str, ...]:
        """The metrics that count the customers behind the groups of others."""
        wanted = {_behind(model, shift) for name in metrics for model, shift in self._leaves(name)}
        return tuple(sorted(wanted & self._counts))

    def _add_counts(self, document: dict[str, Any]) -> None:
        self._counts: set[str] = set()
        shifts = {leaf for name in self._metrics for leaf in self._leaves(name)}
        for model in self._models.values():
            relation = model["node_relation"]
            table = self.tables.get(f"{relation['schema_name']}.{relation['alias']}")
            simple = [
                metric
                for metric in self._metrics.values()
                if (metric["type_params"].get("metric_aggregation_params") or {}).get("semantic_model") == model["name"]
            ]
            sizes = [column.name for column in table.columns if GROUP_SIZE in (column.tags or ())] if table else []
            if table is None or not simple or not (table.has_customer or sizes):
                continue
            # Of a table that only has numbers of customers, the group with most of them: it is no smaller than that.
            column, aggregation = (CUSTOMER, "count_distinct") if table.has_customer else (sizes[0], "max")
            count = json.loads(json.dumps(simple[0]))
            count["name"] = _behind(model["name"], None)
            count["filter"] = None
            count["type_params"]["expr"] = column
            count["type_params"]["metric_aggregation_params"]["agg"] = aggregation
            count["type_params"]["join_to_timespine"] = False
            count["type_params"]["fill_nulls_with"] = None
            document["metrics"].append(count)
            self._counts.add(count["name"])
            for other, shift in shifts:
                if other == model["name"] and shift and shift.startswith(ROLLING):
                    rolling = json.loads(json.dumps(self._metrics[shift.removeprefix(ROLLING)]))
                    rolling["name"] = _behind(model["name"], shift)
                    rolling["filter"] = None
                    rolling["type_params"]["cumulative_type_params"]["metric"]["name"] = count["name"]
                    document["metrics"].append(rolling)
                    self._counts.add(rolling["name"])
                elif other == model["name"] and shift:
                    number, grain = shift.split("_")
                    shifted = json.loads(json.dumps(count))
                    shifted["name"] = _behind(model["name"], shift)
                    shifted["type"] = "derived"
                    window = {"count": int(number), "granularity": grain}
                    given = {"name": count["name"], "alias": "earlier", "filter": None, "offset_window": window}
                    shifted["type_params"] = {"expr": "earlier", "metrics": [given | {"offset_to_grain": None}]}
                    document["metrics"].append(shifted)
                    self._counts.add(shifted["name"])


def _behind(model: str, shift: str | None) -> str:
    return f"{BEHIND}{model}" + (f"__{shift}" if shift else "")


def _plain_name(item: str) -> str:
    """`TimeDimension('metric_time', 'month')` as metric_time__month, `Metric('x').descending(True)` as x."""
    found = re.findall(r"'([a-z0-9_]+)'", item)
    return "__".join(found) if found else item.removeprefix("-")


def _reason(text: str) -> str:
    """The message of MetricFlow's first error, without its paths."""
    message = re.search(r"Message:\s*(.*?)(?:Suggestions:|Query Input:|Issue Location:|$)", text, re.DOTALL)
    return " ".join((message[1] if message else text.partition("\n")[0]).split())[:500] or "MetricFlow refuses it"
