"""Constant matrices and squares: exact, and with fewer adder cells than the solver alone."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from axo.firmware.rtl.adders import matrix_product, square
from axo.firmware.rtl.pipeline import Opcode

alkaid = pytest.importorskip("alkaid.trace")

HARDWARE = (1, 1, -1)


def inputs(low, high, step):
    """Variables of these bounds, as an alkaid array and as a list."""
    array = alkaid.FVArray.from_lhs(*np.broadcast_arrays(low, high, step), hwconf=HARDWARE)
    return array, list(np.asarray(array))


def cells(program):
    """Adder cells as alkaid counts them."""
    return sum(op.cost for op in program.ops if op.opcode in (Opcode.ADD, Opcode.SUBTRACT))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 7), st.integers(1, 5), st.integers(1, 6))
@example(0, 3, 2, 0)  # weights that are all zero
def test_matrix_products_are_exact(seed, n_in, n_out, weight_bits):
    generator = np.random.default_rng(seed)
    limit = (1 << weight_bits) - 1
    weight = generator.integers(-limit, limit + 1, (n_in, n_out)) / 4.0
    weight[:, generator.integers(n_out)] = -np.abs(weight[:, 0])  # a sum of negatives alone
    constant = generator.integers(-100, 100, n_out) / 8.0
    low = generator.integers(-64, 1, n_in) / 2.0
    high = low + generator.integers(1, 100, n_in) / 2.0
    array, x = inputs(low, high, 0.5)
    program = alkaid.trace(array, matrix_product(x, weight, constant, {}), keep_dead_inputs=True)
    values = low + generator.integers(0, np.round(2 * (high - low)) + 1, (300, n_in)) / 2.0
    values = np.concatenate([values, low[None], high[None]])
    np.testing.assert_array_equal(program.predict(values, n_threads=1), values @ weight + constant)


def test_sums_in_a_new_order_take_fewer_cells_and_are_no_later():
    generator = np.random.default_rng(3)
    weight = generator.integers(-15, 16, (30, 12)) * (generator.random((30, 12)) < 0.6) / 4.0
    array, x = inputs(np.full(30, -32.0), 31.75, 0.25)
    ours = alkaid.trace(array, matrix_product(x, weight, np.zeros(12), {}))
    theirs = alkaid.trace(array, array @ weight)
    assert cells(ours) < 0.97 * cells(theirs)
    assert ours.latency[1] <= theirs.latency[1]


@pytest.mark.parametrize(
    ("signed", "integers", "fraction"),
    [
        (1, 6, 3),
        (0, 3, 3),
        (1, 2, 2),
        (0, 9, 0),
        (1, 5, 6),
        (1, 12, 3),
        (0, 7, 5),
        (1, 0, 7),
        (0, 1, 0),
        (1, 9, -2),
    ],
)
def test_squares_are_exact_on_every_value(signed, integers, fraction):
    unit = 2.0**-fraction
    low, high = -signed * 2.0**integers, 2.0**integers - unit
    array, (x,) = inputs(np.array([low]), high, unit)
    values = np.arange(low, high + unit, unit)
    program = alkaid.trace(array, [square(x)])
    np.testing.assert_array_equal(program.predict(values[:, None], n_threads=1)[:, 0], values**2)


def test_squares_of_values_that_do_not_fill_their_bits_are_exact():
    array, (x,) = inputs(np.array([-37.0]), 100.0, 1.0)
    values = np.arange(-37.0, 101.0)
    program = alkaid.trace(array, [square(x)])
    np.testing.assert_array_equal(program.predict(values[:, None], n_threads=1)[:, 0], values**2)
