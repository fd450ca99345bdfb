"""What a change of the contract breaks, and for whom; datacontract-cli decides what counts as breaking."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import yaml
from packaging.version import Version

Consumers = list[dict[str, Any]]


class DetectorMissingError(Exception):
    """datacontract-cli is not in this environment; the message says what to run."""


@dataclass(frozen=True)
class Breakage:
    """One change that breaks readers.

    Attributes:
        where: `schema.table.column`, or as much of it as the change is about.
        change: what changed, in the detector's words.
        consumers: who reads the table: name, label, maturity, owner, email.
    """

    where: str
    change: str
    consumers: Consumers

    def __str__(self) -> str:
        """The change and whom it concerns, on a few lines."""
        readers = [
            f"      {consumer['label']} (exposure {consumer['name']}): {consumer['owner']} <{consumer['email']}>"
            for consumer in self.consumers
        ]
        return "\n".join([f"  {self.where}: {self.change}", *(readers or ["      no exposure reads it"])])


def breakages(accepted: Mapping[str, str], proposed: Mapping[str, str]) -> list[Breakage]:
    """List what readers of the accepted contracts would lose.

    Args:
        accepted: file name to text of the contracts as last accepted.
        proposed: the same, as the metadata says now.

    Returns:
        The breaking changes; of tables and schemas that are gone, too.

    Raises:
        DetectorMissingError: datacontract-cli is not installed here.
    """
    broken = []
    for name, text in accepted.items():
        if name.endswith(".odcs.yaml"):
            old = yaml.safe_load(text)
            # A schema that is gone is a contract without tables.
            new = yaml.safe_load(proposed[name]) if name in proposed else {**old, "schema": []}
            broken += _between(old, new)
    return broken


def is_bumped(accepted: str, proposed: str) -> bool:
    """Tell whether a version allows breaking changes after another (semantic versioning).

    Args:
        accepted: the version as last accepted.
        proposed: the version now; from 1.0 on its major must be higher, before that its minor.
    """
    old, new = Version(accepted), Version(proposed)
    return new.major > old.major or (old.major == new.major == 0 and new.minor > old.minor)


def _between(old: dict[str, Any], new: dict[str, Any]) -> list[Breakage]:
    if not find_spec("datacontract"):
        raise DetectorMissingError(
            "the contract changes, and whether that breaks its readers is judged by datacontract-cli, which is not in "
            "this environment: make contract"
        )
    from datacontract.data_contract import DataContract

    result = DataContract(data_contract_str=yaml.safe_dump(old), inline_references=False).breaking(
        DataContract(data_contract_str=yaml.safe_dump(new), inline_references=False)
    )
    schema = old["servers"][0]["schema"]
    readers = _readers(new) | _readers(old)
    broken = []
    for entry in result.entries:
        if entry.level.value == "error":
            where, table = _place(entry.path, schema)
            broken.append(Breakage(where, _words(entry), readers.get(table, [])))
    return broken


def _words(entry: Any) -> str:
    """The detector's message without the path in it, and with the value that came or went."""
    message = re.sub(r" at schema\.\S+", "", entry.message)
    value = entry.new_value or entry.old_value
    named = message != entry.message and entry.change_type.value in ("added", "removed") and value
    return f"{message}: {' '.join(str(value).split())}" if named else message


def _place(path: str, schema: str) -> tuple[str, str]:
    """Read `schema.<table>.properties.<column>...` as schema.table.column."""
    parts = path.split(".")
    if parts[0] != "schema":
        return f"{schema}, {path}", ""
    column = [parts[3]] if len(parts) > 3 and parts[2] == "properties" else []
    return ".".join([schema, parts[1], *column]), parts[1]


def _readers(contract: dict[str, Any]) -> dict[str, Consumers]:
    """Who reads each table, as the contract says: a table that is gone has no exposures in dbt any more."""
    return {
        table["name"]: custom["value"]
        for table in contract["schema"]
        for custom in table.get("customProperties", [])
        if custom["property"] == "consumers"
    }
