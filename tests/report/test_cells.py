"""Figures as text."""

import pytest

from axo.report import cells

VALUE = {"value": 0.25, "low": 0.2, "high": 0.31}


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (cells.bracketed, "0.25 [0.2, 0.31]"),
        (cells.percent, "25.00 +6.00 -5.00 %"),
        (cells.plus_minus, "0.250 +0.060 -0.050"),
        (cells.scientific, "2.50e-01 +6.0e-02 -5.0e-02"),
        (cells.spanned, "0.2500 (0.2000 - 0.3100)"),
    ],
)
def test_intervals(form, text):
    assert form(VALUE) == text
    assert form(None) == "-"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"value": 12.0, "low": 9.0, "high": 15.0}, "12.00 +3.00 -3.00"),  # at least two decimals
        ({"value": 1e-8, "low": 0.0, "high": 3e-8}, "0.000000 +0.000000 -0.000000"),  # at most six
        ({"value": 1.0, "low": 1.0, "high": 1.0}, "1.0000 +0.0000 -0.0000"),
    ],
)
def test_decimals_follow_the_uncertainty(value, text):
    assert cells.plus_minus(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "missing"), (12, "12"), (12.0, "12.0"), (1.23456, "1.235"), ("text", "text")]
)
def test_numbers(value, text):
    assert cells.number(value) == text


def test_moments_and_lists():
    assert cells.moments({"mean": 0.5, "standard_deviation": 0.1}) == ["0.5", "0.1", "20 %"]
    assert cells.moments({"mean": 0.0, "standard_deviation": 0.1})[2] == "-"
    assert cells.listed(["a", "b"], 2) == "a, b" and cells.listed(["a", "b"], 1) == "a, ..."
