"""The product's quality objectives: what is promised of the data, read from objectives.yml."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

FILE = Path(__file__).parent / "objectives.yml"

Share = Annotated[float, Field(ge=0, le=100)]


class ObjectivesError(Exception):
    """The file of objectives is not valid; the message says where and why."""


class Objective(BaseModel):
    """One promise, as objectives.yml explains its fields. Shares are in per cent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    description: Annotated[str, Field(min_length=1)]
    category: Literal[
        "completeness", "uniqueness", "schema", "freshness", "validity", "accuracy", "reconciliation", "timeliness"
    ]
    unit: Literal["rows", "checks"]
    target: Share
    warn_below: Share
    breach_below: Share
    blocks: bool
    owner: Annotated[str, Field(min_length=1)]
    measured_by: Annotated[list[str], Field(min_length=1)]

    @model_validator(mode="after")
    def _levels_are_in_order(self) -> "Objective":
        if self.breach_below > self.warn_below:
            raise ValueError(f"breach_below ({self.breach_below:g}) is above warn_below ({self.warn_below:g})")
        if self.breach_below > self.target:
            raise ValueError(f"breach_below ({self.breach_below:g}) is above target ({self.target:g})")
        return self


class Objectives(BaseModel):
    """All promises, the days over which they are kept or broken, and the minutes that a run may take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window_days: Annotated[int, Field(ge=1, le=3660)]
    run_may_take_minutes: Annotated[float, Field(gt=0, le=7 * 24 * 60)]
    objectives: Annotated[list[Objective], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_name_and_each_check_once(self) -> "Objectives":
        names = Counter(objective.name for objective in self.objectives)
        checks = Counter(check for objective in self.objectives for check in objective.measured_by)
        for kind, counted in (("objective", names), ("check", checks)):
            twice = sorted(name for name, times in counted.items() if times > 1)
            if twice:
                raise ValueError(f"the {kind} {', '.join(twice)} is named more than once")
        return self

    def of(self, *measures: str) -> Objective | None:
        """Find the objective that a check measures.

        Args:
            measures: names of the check, the most particular first: its own, then that of its kind.

        Returns:
            None when no objective names any of them.
        """
        for measure in measures:
            for objective in self.objectives:
                if measure in objective.measured_by:
                    return objective
        return None


def read(file: Path | None = None) -> Objectives:
    """Read the objectives.

    Args:
        file: the YAML file, such as `Settings.objectives`; None: objectives.yml in this folder.

    Raises:
        ObjectivesError: the file is missing or not valid.
    """
    file = file or FILE
    try:
        return Objectives.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ObjectivesError(f"{file} cannot be read: {error.strerror}. NEXT_AISLE_OBJECTIVES may name it.") from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise ObjectivesError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"]]
        if place[:1] == ["objectives"] and len(place) > 1:
            place = [f"objective {int(place[1]) + 1}", *place[2:]]
        message = first["msg"].removeprefix("Value error, ")
        raise ObjectivesError(f"{file}: {', '.join(place) or 'as a whole'}: {message}") from error
