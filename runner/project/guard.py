"""What `size_guard:` of an output may say."""

from __future__ import annotations

from pydantic import Field, model_validator

from runner.project.yaml import StrictModel


class SizeGuard(StrictModel):
    """How many rows a production file may have; outside, it is not published.

    `minimum_rows` and `maximum_rows` are absolute. `change_percent` is the most by which the rows
    may differ from the median of the newest `runs` published runs with the same parameters; a
    difference of up to `slack_rows` is always allowed, so that small files may vary.
    """

    minimum_rows: int = Field(default=0, ge=0)
    maximum_rows: int | None = Field(default=None, ge=0)
    change_percent: int | float | None = Field(default=50, gt=0)
    runs: int = Field(default=10, ge=1, le=1000)
    slack_rows: int = Field(default=20, ge=0)

    @model_validator(mode="after")
    def _is_a_range(self) -> SizeGuard:
        if self.maximum_rows is not None and self.maximum_rows < self.minimum_rows:
            raise ValueError("maximum_rows is less than minimum_rows")
        return self
