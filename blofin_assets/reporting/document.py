"""The document of a report: typed values for the page and for the stored JSON.

Belongs here: the types of values, the head of a report, the place of a section's part. Does not belong here: the part
of any section (`sections`), building (`report`).

Names in a part are keys of the stored JSON, which analysts and `blofin reproduce` read: they are not renamed. A
field whose key is an older word is annotated by `stored_as`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from blofin_assets.shared.json_values import plain

Json = dict[str, Any]
Number = Annotated[float, Field(allow_inf_nan=False)] | None
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)] | None
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00$")]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
Kind = Literal["strategy_day", "ml_day", "no_cycle"]


def stored_as(key: str) -> FieldInfo:
    """Return the annotation of a field whose key in the stored JSON is an older word."""
    return Field(validation_alias=key, serialization_alias=key)  # type: ignore[no-any-return]


class Part(BaseModel):
    """A part of a report: strict types and no keys beyond its own."""

    model_config = ConfigDict(extra="forbid", strict=True, validate_by_name=True, serialize_by_alias=True)

    @classmethod
    def of(cls, row: Mapping[str, Any], **values: Any) -> Self:
        """Return the part from the columns of a row that have the names of its fields, and further values."""
        return cls(
            **{name: plain(row[name]) for name in cls.model_fields if name in row and name not in values}, **values
        )


@dataclass(frozen=True)
class Under:
    """Marks a field of a section's part that belongs under a key shared by several sections."""

    key: str


def places(part: type[Part]) -> Iterator[tuple[str, str | None]]:
    """Yield each field of a section's part with its shared key; None for the top level of the report."""
    for name, field in part.model_fields.items():
        yield name, next((mark.key for mark in field.metadata if isinstance(mark, Under)), None)


class NotMade(Part):
    """A section that failed; its part of the report is empty."""

    section: str
    reason: str


P = TypeVar("P", bound=Part)


class Document(Part):
    """A report: its head; `report.form` adds the fields of its sections.

    `provenance` describes how the report was made. It is the only part that differs when the report is recomputed.
    """

    report_date: Day
    as_of: Time
    cycle: Kind
    cycles: dict[str, Time | None]
    ai_next_steps: str = ""
    not_made: list[NotMade]
    provenance: dict[str, Any] | None = None

    def part(self, kind: type[P]) -> P:
        """Return the part of a section, by its type."""
        values = {name: getattr(getattr(self, key) if key else self, name) for name, key in places(kind)}
        return kind.model_construct(**values)

    def stored(self) -> Json:
        """Return the report as stored JSON.

        Raises
        ------
        ValueError
            If it does not match its schema.
        """
        document = self.model_dump(mode="json")
        type(self).model_validate(document)
        return {**document, "not_made": document.pop("not_made"), "provenance": document.pop("provenance")}
