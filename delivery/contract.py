"""The data contract: what the published tables look like, what holds for them, and who must hear of a change.

Generated from dbt's own metadata, product.yml and the objectives, so nothing is written twice. One contract for each
published schema (Open Data Contract Standard), because a contract's server names one schema; and one descriptor of the
product, whose output ports they are (Open Data Product Standard).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from quality.data_tests import describe
from quality.freshness import has_limit
from quality.objectives import Objectives
from warehouse.dbt_project import Manifest, project_settings, published_models

HERE = Path(__file__).resolve().parent
# The contract as it was last accepted: what a change is compared with.
FOLDER = HERE / "contract"
# The published file, as seen from the contract next to it.
PUBLISHED_FILE = "next_aisle.duckdb"

ODCS_VERSION = "v3.2.0"
ODPS_VERSION = "v1.0.0"
HEADING = (
    "# Generated from dbt's metadata, delivery/product.yml and quality/objectives.yml: do not edit, `make contract`.\n"
)

# First part of a dbt data type to the standard's logical types.
LOGICAL_TYPES = {
    "string": "string",
    "varchar": "string",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "int": "integer",
    "integer": "integer",
    "bigint": "integer",
    "decimal": "number",
    "double": "number",
}
# Column tags that say what kind of data it is; delivery/policy.yml says who may see it.
CLASSIFICATIONS = ("personal", "identifier")
# Category of an objective to the standard's dimensions of quality.
DIMENSIONS = {
    "completeness": "completeness",
    "uniqueness": "uniqueness",
    "schema": "conformity",
    "validity": "conformity",
    "accuracy": "accuracy",
    "reconciliation": "consistency",
    "freshness": "timeliness",
    "timeliness": "timeliness",
}

# What product.yml must say.
PRODUCT_FIELDS = {
    *("id", "name", "domain", "status", "purpose", "usage", "limitations", "tags", "management_ports", "price"),
}

# libyaml's, where it is there: ten times as fast.
_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Document = dict[str, Any]
Node = Mapping[str, Any]


class ContractError(Exception):
    """The contract cannot be made from what the metadata says; the message says what to add where."""


@dataclass(frozen=True)
class Metadata:
    """All that the contract is made from.

    Attributes:
        manifest: dbt's manifest.
        version: the product's version, from dbt_project.yml.
        sources: the active sources, from dbt_project.yml.
        product: product.yml.
        objectives: the product's, from objectives.yml.
    """

    manifest: Manifest
    version: str
    sources: list[str]
    product: Document
    objectives: Objectives


def read_metadata(manifest: Manifest, promised: Objectives) -> Metadata:
    """Put the manifest together with what the other files say.

    Args:
        manifest: dbt's manifest.
        promised: the objectives in force where the data is published, or those of the repository.

    Raises:
        ContractError: product.yml does not make sense.
    """
    settings = project_settings()
    file = HERE / "product.yml"
    try:
        product = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeError) as error:
        raise ContractError(f"{file} is no YAML: {_one_line(str(error))}") from error
    if missing := PRODUCT_FIELDS - set(product if isinstance(product, dict) else ()):
        raise ContractError(f"{file} lacks {', '.join(sorted(missing))}")
    return Metadata(
        manifest=manifest,
        version=str(settings["version"]),
        sources=list(settings["vars"]["sources"]),
        product=product,
        objectives=promised,
    )


def render(metadata: Metadata) -> dict[str, str]:
    """Write the contracts and the product's descriptor.

    Args:
        metadata: what they are made from.

    Returns:
        File name to text: `<schema>.odcs.yaml` for each published schema, and `<product>.odps.yaml`.

    Raises:
        ContractError: a published column has no type or no description.
    """
    models = published_models(metadata.manifest)
    documents: dict[str, Document] = {
        f"{schema}.odcs.yaml": _contract(metadata, schema, [node for node in models if node["schema"] == schema])
        for schema in dict.fromkeys(node["schema"] for node in models)
    }
    documents[f"{metadata.product['id']}.odps.yaml"] = _product(metadata, models)
    return {name: HEADING + dump(document) for name, document in documents.items()}


def in_force(manifest: Manifest, own_objectives: Objectives | None = None) -> dict[str, str]:
    """Give the contract to publish: as committed, or with the objectives in force where they are others.

    Args:
        manifest: dbt's.
        own_objectives: the objectives in force, where they are not those of the project.

    Returns:
        File name to text.

    Raises:
        ContractError: the contract cannot be made.
    """
    if own_objectives:
        return render(read_metadata(manifest, own_objectives))
    return {path.name: path.read_text(encoding="utf-8") for path in files(FOLDER)}


def files(folder: Path) -> list[Path]:
    """List the files of a contract in a folder.

    Args:
        folder: where they are.
    """
    return sorted([*folder.glob("*.odcs.yaml"), *folder.glob("*.odps.yaml")])


def problem(texts: Mapping[str, str], columns: Mapping[str, list[str]]) -> str | None:
    """Say in what a contract does not describe the published tables.

    Args:
        texts: file name to text of the contract.
        columns: `schema.table` to columns, as published.

    Returns:
        One line that names the first difference and the way out; None when there is none.
    """
    described: dict[str, list[str]] = {}
    for name, text in texts.items():
        if name.endswith(".odcs.yaml"):
            document = yaml.load(text, Loader=_SafeLoader)
            for table in document["schema"]:
                full_name = f"{document['servers'][0]['schema']}.{table['name']}"
                described[full_name] = [column["name"] for column in table["properties"]]
    for table in sorted(columns.keys() | described.keys()):
        if sorted(columns.get(table, [])) != sorted(described.get(table, [])):
            return f"the contract does not describe {table} as it was published: make contract"
    return None


def dump(document: Document) -> str:
    """Write a document as YAML, in the order of its keys."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)


def consumers(manifest: Manifest, model_id: str) -> list[Document]:
    """List who reads a table: dbt's exposures that depend on it, directly or by a metric.

    Args:
        manifest: dbt's manifest.
        model_id: the model's unique_id.

    Returns:
        For each its name, label, maturity, owner and e-mail, by name.
    """
    readers = []
    for exposure in manifest["exposures"].values():
        if model_id in set(_models_behind(manifest, exposure["depends_on"]["nodes"])):
            owner = exposure["owner"]
            readers.append(
                {
                    "name": exposure["name"],
                    "label": exposure["label"] or exposure["name"],
                    "maturity": exposure["maturity"],
                    "owner": owner["name"],
                    "email": owner["email"],
                }
            )
    return sorted(readers, key=lambda reader: str(reader["name"]))


def _models_behind(manifest: Manifest, unique_ids: list[str]) -> Iterator[str]:
    for unique_id in unique_ids:
        if unique_id.startswith("model."):
            yield unique_id
        else:
            yield from _models_behind(manifest, manifest["parent_map"].get(unique_id, []))


def _contract(metadata: Metadata, schema: str, models: list[Document]) -> Document:
    product, version = metadata.product, metadata.version
    group = metadata.manifest["groups"][f"group.{metadata.manifest['metadata']['project_name']}.{models[0]['group']}"]
    owner = group["owner"]
    return {
        "apiVersion": ODCS_VERSION,
        "kind": "DataContract",
        "id": f"{product['id']}.{schema}",
        "name": f"{product['name']}: {schema}",
        "version": version,
        "status": product["status"],
        "domain": product["domain"],
        "dataProduct": product["id"],
        "description": {
            "purpose": f"{group['description']} {product['purpose']}",
            "usage": product["usage"],
            "limitations": product["limitations"],
        },
        "tags": product["tags"],
        "servers": [
            {
                "server": "published",
                "type": "duckdb",
                "description": "The published file, in the folder of this contract. It can only be opened read-only: "
                f"duckdb.connect('{PUBLISHED_FILE}', read_only=True) in Python, duckdb -readonly {PUBLISHED_FILE} in a "
                f"shell. For datacontract-cli in another folder, set DATACONTRACT_DUCKDB_DATABASE to the file's path.",
                "database": PUBLISHED_FILE,
                "schema": schema,
            }
        ],
        "schema": [_table(metadata, node) for node in models],
        "price": {"priceAmount": product["price"]},
        "team": {
            "name": owner["name"],
            "members": [{"username": owner["email"], "name": owner["name"], "role": "owner"}],
        },
        "support": [_support(owner)],
        "slaProperties": [*_freshness(metadata, models), *_promises(metadata)],
    }


def _table(metadata: Metadata, node: Node) -> Document:
    name = f"{node['schema']}.{node['alias']}"
    rules = _Rules(metadata, node)
    properties = []
    for column in node["columns"].values():
        if not column["data_type"] or not column["description"]:
            raise ContractError(f"{name}.{column['name']} needs a data_type and a description, in {node['patch_path']}")
        properties.append(_property(rules, name, column))
    return _without_empty(
        {
            "name": node["alias"],
            "physicalName": node["alias"],
            "physicalType": "table",
            "description": _one_line(node["description"]),
            "dataGranularityDescription": re.split(r"(?<=\.)\s", _one_line(node["description"]))[0],
            "tags": sorted(node["tags"]),
            "properties": properties,
            "quality": rules.of(None),
            "customProperties": [
                {
                    "property": "consumers",
                    "value": consumers(metadata.manifest, node["unique_id"]),
                    "description": "Who reads the table and must hear of a change.",
                }
            ],
        }
    )


def _property(rules: "_Rules", table: str, column: Node) -> Document:
    kind = re.split(r"[(\s]", column["data_type"].lower())[0]
    if kind not in LOGICAL_TYPES:
        raise ContractError(f"{table}.{column['name']}: data type {column['data_type']} is not in LOGICAL_TYPES")
    name = column["name"]
    bounds = rules.bounds(name)
    return _without_empty(
        {
            "name": name,
            "logicalType": LOGICAL_TYPES[kind],
            "physicalType": column["data_type"],
            "description": _one_line(column["description"]),
            "primaryKey": name in rules.key or None,
            "primaryKeyPosition": rules.key.index(name) + 1 if name in rules.key else None,
            "required": rules.has("not_null", name) or None,
            "unique": rules.has("unique", name) or None,
            "classification": next((word for word in CLASSIFICATIONS if word in column["tags"]), None),
            # dbt gives several in any order.
            "tags": sorted(column["tags"]),
            "logicalTypeOptions": bounds,
            "enum": [{"value": value} for value in rules.values(name)],
            "relationships": [{"to": target, "type": "foreignKey"} for target in rules.references(name)],
            "quality": rules.of(name),
        }
    )


class _Rules:
    """The dbt tests of one model, in the contract's words.

    A test that holds without exception becomes part of the schema (required, unique, enum, minimum and maximum,
    primary key, relationship). One that only warns, or for some rows, or that says more than the standard's words can,
    becomes a query; one that needs tables which are not published becomes a sentence.
    """

    def __init__(self, metadata: Metadata, node: Node) -> None:
        self.node = node
        self.table = f"{node['schema']}.{node['alias']}"
        self.published = {model["unique_id"]: model for model in published_models(metadata.manifest)}
        self.tests = sorted(
            (
                test
                for test in metadata.manifest["nodes"].values()
                if test["resource_type"] == "test"
                and test.get("test_metadata")
                and test.get("attached_node") == node["unique_id"]
            ),
            key=lambda test: str(test["name"]),
        )
        self.dimensions = {
            test: DIMENSIONS[objective.category]
            for objective in metadata.objectives.objectives
            for test in objective.measured_by
        }
        # Where no column alone is the key, the first combination that is unique. dbt's own guess (primary_key) puts all
        # columns of all combinations together.
        combinations = [test for test in self.tests if self._kind(test) == "unique_combination_of_columns"]
        keys = [[column] for column in node["columns"] if self.has("unique", column) and self.has("not_null", column)]
        keys += [list(self._arguments(test)["combination_of_columns"]) for test in combinations]
        self.key: list[str] = keys[0] if keys else []

    def has(self, kind: str, column: str) -> bool:
        return any(self._kind(test) == kind and self._always(test) for test in self._on(column))

    def values(self, column: str) -> list[Any]:
        tests = [test for test in self._on(column) if self._kind(test) == "accepted_values" and self._always(test)]
        return list(self._arguments(tests[0])["values"]) if tests else []

    def bounds(self, column: str) -> Document:
        tests = [test for test in self._on(column) if self._kind(test) == "accepted_range" and self._always(test)]
        limits = next((arguments for arguments in map(self._arguments, tests) if arguments.get("inclusive", True)), {})
        return {
            word: limits[limit]
            for word, limit in (("minimum", "min_value"), ("maximum", "max_value"))
            if limits.get(limit) is not None
        }

    def references(self, column: str) -> list[str]:
        """Columns of the same contract that the column's values must be in."""
        return [
            f"{target['alias']}.{self._arguments(test)['field']}"
            for test in self._on(column)
            if self._kind(test) == "relationships"
            and self._always(test)
            and (target := self._target(test))
            and target["schema"] == self.node["schema"]
        ]

    def of(self, column: str | None) -> list[Document]:
        """The rules that are not part of the schema: of a column, or of the whole table."""
        return [rule for test in self._on(column) for rule in self._rule(test, column)]

    def _rule(self, test: Node, column: str | None) -> Iterator[Document]:
        kind, arguments = self._kind(test), self._arguments(test)
        named: Document = {
            "name": test["name"],
            "dimension": self.dimensions.get(test["name"], self.dimensions.get(kind)),
        }
        if not self._always(test):
            named["severity"] = "warning" if test["config"]["severity"].lower() == "warn" else "error"
        if kind == "unique_combination_of_columns":
            if arguments["combination_of_columns"] != self.key:
                properties = {"properties": arguments["combination_of_columns"]}
                yield {**named, "type": "library", "metric": "duplicateValues", "arguments": properties, "mustBe": 0}
        elif query := self._query(test, column):
            yield {**named, "type": "sql", "description": describe(test), "query": query, "mustBe": 0}
        elif not (self._always(test) and kind in ("not_null", "unique", "accepted_values", "accepted_range")) and not (
            kind == "relationships" and column and self.references(column)
        ):
            yield {
                **named,
                "type": "text",
                "description": f"{describe(test)} Tested before each publication.",
            }

    def _query(self, test: Node, column: str | None) -> str | None:
        """A query that counts what breaks the rule; None where the schema says it or unpublished tables are needed."""
        kind, arguments = self._kind(test), self._arguments(test)
        rows = test["config"].get("where")
        where = f"({rows}) and " if rows else ""
        count = f"select count(*) from {self.table}"
        target = self._target(test)
        if kind == "expression_is_true":
            return f"{count} where {where}not coalesce({arguments['expression']}, false)"
        if kind == "relationships" and target and target["schema"] != self.node["schema"]:
            other = f"{target['schema']}.{target['alias']}"
            return f"{count} where {where}{column} not in (select {arguments['field']} from {other})"
        if kind == "same_total" and target:
            other = f"{target['schema']}.{target['alias']}"
            return (
                f"select count(*) from (select source_name, sum({column}) as total from {self.table} group by all) "
                f"as this_table full join (select source_name, sum({arguments['field']}) as total from {other} "
                "group by all) as other_table using (source_name) "
                "where coalesce(this_table.total, 0) <> coalesce(other_table.total, 0)"
            )
        if kind == "at_least_one":
            values = f"select count({column}) as value_count from {self.table}"
            return f"select count(*) from ({values}) where value_count = 0"
        if self._always(test) and arguments.get("inclusive", True):
            return None
        if kind == "not_null":
            return f"{count} where {where}{column} is null"
        if kind == "accepted_values":
            values = ", ".join("'" + str(value).replace("'", "''") + "'" for value in arguments["values"])
            return f"{count} where {where}{column} not in ({values})"
        if kind == "accepted_range":
            or_equal = "" if arguments.get("inclusive", True) else "="
            limits = [
                f"{column} {sign}{or_equal} {arguments[limit]}"
                for sign, limit in (("<", "min_value"), (">", "max_value"))
                if arguments.get(limit) is not None
            ]
            return f"{count} where {where}({' or '.join(limits)})"
        return None

    def _on(self, column: str | None) -> list[Document]:
        return [test for test in self.tests if (test["column_name"] or None) == column]

    def _target(self, test: Node) -> Document | None:
        """The other published table that a test compares with."""
        others = [unique_id for unique_id in test["depends_on"]["nodes"] if unique_id != self.node["unique_id"]]
        return self.published.get(others[0]) if len(others) == 1 else None

    @staticmethod
    def _kind(test: Node) -> str:
        return str(test["test_metadata"]["name"])

    @staticmethod
    def _arguments(test: Node) -> Document:
        return dict(test["test_metadata"]["kwargs"])

    @staticmethod
    def _always(test: Node) -> bool:
        """Whether the test stops publication, for every row."""
        return test["config"]["severity"].lower() == "error" and not test["config"].get("where")


def _freshness(metadata: Metadata, models: list[Document]) -> Iterator[Document]:
    """How old each shop's newest event may be, for the tables that say which column is the event's time.

    A source without purchases, or without a limit, promises nothing.
    """
    hours = {"minute": 1 / 60, "hour": 1, "day": 24}
    several = len(metadata.sources) > 1
    purchases = {
        node["source_name"]: node for node in metadata.manifest["sources"].values() if node["name"] == "purchases"
    }
    for node in models:
        event_time = node["config"].get("event_time")
        for source in metadata.sources if event_time else []:
            if source not in purchases or not has_limit(purchases[source]):
                continue
            oldest = purchases[source]["freshness"]["error_after"]
            yield {
                "property": "freshness",
                "value": round(oldest["count"] * hours[oldest["period"]]),
                "unit": "h",
                "element": f"{node['alias']}.{event_time}",
                "driver": "operational",
                "description": f"The newest purchase of {source} is at most so old, or the shop is held."
                if several
                else "The newest purchase is at most so old, or nothing is published.",
            }


def _promises(metadata: Metadata) -> Iterator[Document]:
    days = metadata.objectives.window_days
    several = ", or the shop whose deliveries break it is held" if len(metadata.sources) > 1 else ""
    for objective in metadata.objectives.objectives:
        yield {
            "id": objective.name,
            "property": objective.name,
            "value": objective.target,
            "unit": "percent",
            "driver": "operational",
            "description": f"{_one_line(objective.description)} Share of {objective.unit} over {days} days; "
            + (
                f"a breach stops publication{several}."
                if objective.blocks
                else "a breach is reported, and published all the same."
            ),
        }


def _product(metadata: Metadata, models: list[Document]) -> Document:
    product, version, manifest = metadata.product, metadata.version, metadata.manifest
    owners = {
        group["owner"]["name"]: group["owner"]
        for group in manifest["groups"].values()
        if group["name"] in {node["group"] for node in models}
    }
    inputs = [
        {"name": source, "version": version, "contractId": f"{product['id']}.raw_{source}"}
        for source in metadata.sources
    ]
    outputs = [
        {
            "name": f"{node['schema']}.{node['alias']}",
            "description": re.split(r"(?<=\.)\s", _one_line(node["description"]))[0],
            "type": "duckdb",
            "version": version,
            "contractId": f"{product['id']}.{node['schema']}",
            "inputContracts": [{"id": port["contractId"], "version": version} for port in inputs],
        }
        for node in models
    ]
    metrics = sorted(metric["name"] for metric in manifest["metrics"].values())
    if metrics:
        outputs.append(
            {
                "name": "metrics",
                "description": f"Asked with `mf query`: {', '.join(metrics)}.",
                "type": "metricflow",
                "version": version,
            }
        )
    return {
        "apiVersion": ODPS_VERSION,
        "kind": "DataProduct",
        "id": product["id"],
        "name": product["name"],
        "version": version,
        "status": product["status"],
        "domain": product["domain"],
        "description": {word: product[word] for word in ("purpose", "usage", "limitations")},
        "tags": product["tags"],
        "inputPorts": inputs,
        "outputPorts": outputs,
        "managementPorts": product["management_ports"],
        "support": [_support(owner) for _, owner in sorted(owners.items())],
        "team": [
            {"username": owner["email"], "name": owner["name"], "role": "owner"} for _, owner in sorted(owners.items())
        ],
    }


def _support(owner: Node) -> Document:
    return {"channel": owner["name"], "url": f"mailto:{owner['email']}", "tool": "email", "scope": "issues"}


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _without_empty(document: Document) -> Document:
    return {key: value for key, value in document.items() if value not in (None, [], {}, "")}
