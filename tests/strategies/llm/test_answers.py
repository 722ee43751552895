"""Answer types: what fits, what does not."""

import math

import pytest
from pydantic import BaseModel, ValidationError

from strategies.llm.answers import Design, Review, Summary, Tuning

GOOD: dict[type[BaseModel], dict[str, object]] = {
    Design: {"idea": "i", "fails_when": "f", "code": "class A: pass"},
    Tuning: {"diagnosis": "d", "variants": [{"reason": "r", "changes": [{"parameter": "level", "value": 20}]}]},
    Summary: {"text": "t"},
    Review: {"verdict": "v", "findings": [{"severity": "error", "about": "a", "text": "t"}], "next_steps": []},
}


@pytest.mark.parametrize("kind", GOOD)
def test_a_good_answer_fits(kind: type[BaseModel]) -> None:
    value = kind.model_validate(GOOD[kind])
    assert kind.model_validate_json(value.model_dump_json()) == value


@pytest.mark.parametrize("kind", GOOD)
def test_another_field_or_a_missing_one_does_not(kind: type[BaseModel]) -> None:
    with pytest.raises(ValidationError):
        kind.model_validate({**GOOD[kind], "extra": 1})
    for name in GOOD[kind]:
        with pytest.raises(ValidationError):
            kind.model_validate({key: value for key, value in GOOD[kind].items() if key != name})


@pytest.mark.parametrize("value", [math.nan, math.inf, "20", None, True])
def test_a_parameter_is_a_finite_number(value: object) -> None:
    with pytest.raises(ValidationError):
        Tuning.model_validate(
            {"diagnosis": "d", "variants": [{"reason": "r", "changes": [{"parameter": "p", "value": value}]}]}
        )
