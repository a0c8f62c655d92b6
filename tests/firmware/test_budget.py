"""Budgets are one-sided, and what was not measured is not within them."""

import pytest

from axo.errors import UserError
from axo.firmware.budget import Budget, read_budget


def test_the_shipped_budget_is_the_agreed_one():
    budget = read_budget()
    assert budget.budget == {
        "latency_ns": 50, "initiation_interval_ns": 25, "lut": 32701, "dsp": 0, "bram": 0,
    }  # fmt: skip
    assert budget.target == {"latency_ns": 25, "lut": 16350}


@pytest.mark.parametrize(("value", "within"), [(0, True), (50, True), (50.001, False), (None, False)])
def test_limits_are_one_sided_and_missing_is_not_within(value, within):
    (check,) = Budget({"latency_ns": 50}, {}).check({"latency_ns": value} if value is not None else {})
    assert check.within is within and check.gates


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("budget: {lutt: 5}", "unknown quantity 'lutt'; did you mean 'lut'?"),
        ("bugdet: {lut: 5}", "unknown key 'bugdet'; did you mean 'budget'?"),
        ("budget: {lut: many}", "budget: lut: must be a number, not 'many'"),
        ("budget: {lut: -1}", "not a number of at least 0"),
        ("budget: {lut: .nan}", "not a number of at least 0"),
        ("budget: {lut: true}", "must be a number, not True"),
        ("budget: [lut]", "must be a mapping"),
        ("just words", "must be a mapping"),
        ("a: b: c", "is not YAML"),
    ],
)
def test_bad_budget_files_are_one_clear_line(tmp_path, text, says):
    path = tmp_path / "budget.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_budget(path)
    assert str(path) in str(error.value) and says in str(error.value) and "\n" not in str(error.value)
