"""What Claude's answers must look like.

Belongs here: one type for each prompt, with the bounds that make an answer usable. Does not belong here:
evaluating an answer; a design's code is evaluated by the compiler and the backtester.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from strategies.untrusted.compiler import MAX_TEXT

Line = Annotated[str, Field(min_length=1, max_length=300)]
Words = Annotated[str, Field(min_length=1, max_length=2_000)]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Design(_Answer):
    """A new strategy."""

    idea: Words = Field(description="who pays for this edge, and why they go on paying")
    fails_when: Line = Field(description="the market in which it should lose")
    code: str = Field(min_length=1, max_length=MAX_TEXT, description="one strategy class in the language, nothing else")


class Input(_Answer):
    """A new input of a model."""

    idea: Words = Field(description="what the model cannot see now, and why this shows it")
    expression: str = Field(min_length=1, max_length=2_000, description="one expression over features, nothing else")


class Change(_Answer):
    """A new value of one parameter."""

    parameter: Annotated[str, Field(min_length=1, max_length=60)]
    value: Annotated[float, Field(allow_inf_nan=False, strict=True)]


class Variant(_Answer):
    """A set of changes that is tried as a whole."""

    reason: Line = Field(description="what in the results it answers")
    changes: list[Change] = Field(min_length=1, max_length=20)


class Tuning(_Answer):
    """Parameter sets to try first."""

    diagnosis: Words = Field(description="why it underperforms")
    variants: list[Variant] = Field(min_length=1, max_length=8, description="the most promising first")


class Summary(_Answer):
    """A few sentences for the report."""

    text: Annotated[str, Field(min_length=1, max_length=1_200)]


class Finding(_Answer):
    """One thing that a reviewer noticed."""

    severity: Literal["info", "warning", "error"]
    about: Line = Field(description="the name or the figure that it is about")
    text: Line


class Review(_Answer):
    """A review of the daily report."""

    verdict: Words
    findings: list[Finding] = Field(max_length=20)
    next_steps: list[Line] = Field(max_length=10, description="the most useful first")
