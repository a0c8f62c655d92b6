"""Few adder cells, and few of them one behind the other, for constant matrices and for squares.

alkaid's solver finds the sub-expressions that several outputs share. What is left of each output
is a sum of some twenty terms, and the order in which they are added decides how many adder cells
that takes and how late the sum is ready: an adder has a cell for every bit from where both operands
have bits up to the top of the wider one, so terms of like place and width go first. Here those sums
are ordered anew, each at the least cost that keeps pace with the slowest one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from alkaid.trace import FVariable
    from alkaid.types import CombLogic

# Opcodes of alkaid's programs (its docs/alir.md): an input, a + (b << shift), a - (b << shift).
_INPUT, _SUBTRACT = -1, 1

# Of alkaid's searches, the one that gave the smallest and fastest netlist of CMS's network of 2024.
SOLVER_OPTIONS = {"method0": "wmc", "decompose_dc": 0, "search_all_decompose_dc": False}

SOLVER_ATTEMPTS = 8

# How strongly the choice of a pair avoids late sums: all are tried, the cheapest in time is taken.
DEPTH_WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0, 16.0)

# A cell that removes no bit from the sum is half a cell dearer than one that does.
WASTE_WEIGHT = 0.5

# An addend that is constant needs inverters only, in about half of its cells.
CONSTANT_WEIGHT = 0.5

# alkaid's delay model: an adder, and a cell of its carry chain.
_ADDER_DELAY, _CELL_DELAY = 1.09375, 0.025390625

# What one table takes, and the parts that squares are made of: a pair of parts is one LUT6, or two.
_TABLE_BITS, _PART_BITS = 6, 3


@dataclass(frozen=True)
class _Term:
    """A summand, `variable` or its negative, between `low` and `high`, ready after a `delay`.

    Its bits go from place `bottom` to below place `top`, sign included. A plan of a sum is made of
    terms without variables.
    """

    low: float
    high: float
    step: float
    negative: bool
    delay: float
    variable: FVariable | None = None
    bottom: int = field(init=False)
    top: int = field(init=False)

    def __post_init__(self) -> None:
        units = max(int(self.high / self.step), ~int(self.low / self.step) if self.low < 0 else 0)
        bottom = int(np.frexp(self.step)[1]) - 1
        object.__setattr__(self, "bottom", bottom)
        object.__setattr__(self, "top", bottom + units.bit_length() + (self.low < 0))

    @classmethod
    def of(cls, variable: FVariable, negative: bool = False) -> _Term:
        low, high, step = float(variable.low), float(variable.high), float(variable.step)
        return cls(low, high, step, negative, float(variable.latency), variable)

    @property
    def is_constant(self) -> bool:
        return self.low == self.high

    def scaled(self, shift: int, sign: int) -> _Term:
        """This term times +-2**shift."""
        return _Term.of(_variable(self) * 2.0**shift, self.negative != (sign < 0))


def matrix_product(
    x: Sequence[FVariable],
    weight: NDArray[np.float64],
    constant: NDArray[np.float64],
    options: dict[str, Any],
) -> list[FVariable]:
    """x @ weight + constant for variables x (n,) and constants (n, m) and (m,): exact, m variables.

    `options` for alkaid's cmvm_solve replace those of SOLVER_OPTIONS. x must not hold constants.
    """
    first, second, rows, columns = _solve(x, weight, {**SOLVER_OPTIONS, **options})
    shared = _Sums(first, [_Term.of(x[row]) for row in rows]).outputs()
    outputs = _Sums(second, [_sum(terms) if terms else None for terms in shared]).outputs()
    for terms, column in zip(outputs, columns, strict=True):
        if constant[column] or not terms:
            terms.append(_Term.of(_constant(x[0], float(constant[column]))))
    deadline = max(min(_plan(terms, weight)[1] for weight in DEPTH_WEIGHTS) for terms in outputs)
    sums = [_value(_sum(terms, deadline)) for terms in outputs]
    return [sums[place] for place in np.argsort(columns)]


def _solve(
    x: Sequence[FVariable], weight: NDArray[np.float64], options: dict[str, Any]
) -> tuple[CombLogic, CombLogic, NDArray[np.int64], NDArray[np.int64]]:
    """alkaid's cheapest solution, and the order of rows and columns it is in.

    Its search is greedy, and among equals the first wins: other orders give other solutions.
    """
    from alkaid.cmvm import cmvm_solve

    generator = np.random.default_rng(0)
    solutions = []
    for attempt in range(SOLVER_ATTEMPTS):
        rows, columns = (generator.permutation(n) if attempt else np.arange(n) for n in weight.shape)
        first, second = cmvm_solve(
            np.ascontiguousarray(weight[rows][:, columns], np.float32),
            qintervals=[(float(x[i].low), float(x[i].high), float(x[i].step)) for i in rows],
            # Told when inputs are ready, the search shares much less; the sums see to that instead.
            latencies=[0.0] * len(rows),
            **options,
        )
        solutions.append((first, second, rows, columns))
    return min(solutions, key=lambda solution: solution[0].cost + solution[1].cost)


def cheapest_sum(x: Sequence[FVariable]) -> FVariable:
    """The sum of variables (and constants), exact, added in the cheapest order that is as early as any."""
    terms = [_Term.of(v) for v in x if (v.low, v.high) != (0, 0)]
    return _value(_sum(terms)) if terms else x[0]


def square(v: FVariable) -> FVariable:
    """v * v: squares of three-bit parts and products of their pairs from tables, added up."""
    signed, integers, fraction = (int(part) for part in v.kif)
    word = v * 2.0**fraction
    width = signed + integers + fraction
    if width <= _TABLE_BITS:
        return _table(word, lambda x: x * x) * 2.0 ** (-2 * fraction)
    # The highest part, which has the sign, takes one bit more rather than leaving it alone.
    places = list(range(0, max(width - _PART_BITS, 1), _PART_BITS))
    ends = [*places[1:], width]
    parts = [_slice(word, place, end) for place, end in zip(places, ends, strict=True)]
    terms = []
    for i, low in enumerate(parts):
        terms.append(_Term.of(_table(low, lambda x: x * x) * 4.0 ** places[i]))
        for j in range(i + 1, len(parts)):
            address = parts[j] * 2.0**_PART_BITS + low
            product = _table(address, lambda x: (x >> _PART_BITS) * (x & ((1 << _PART_BITS) - 1)))
            terms.append(_Term.of(product * 2.0 ** (places[i] + places[j] + 1)))
    return _value(_sum(terms)) * 2.0 ** (-2 * fraction)


def _slice(word: FVariable, start: int, end: int) -> FVariable:
    """Bits `start` up to `end` of an integer variable, as an integer; signed if they are its highest."""
    signed, integers, _ = (int(part) for part in word.kif)
    is_top = end == signed + integers
    bits = word.quantize(signed if is_top else 0, end - (signed if is_top else 0), -start)
    return bits * 2.0**-start


def _table(address: FVariable, function: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> FVariable:
    """`function` of an integer variable of few bits."""
    signed, integers, _ = (int(part) for part in address.kif)
    # The complement has the whole range of its bits, whatever is known of the address: so has the table.
    index = ~address
    highest = -1 if signed else (1 << integers) - 1
    values = highest - np.arange(round(index.low), round(index.high) + 1)
    return index.lookup(function(values).astype(np.float64))


class _Sums:
    """A program of shifts and additions, read as sums: of its inputs and of sums used repeatedly."""

    def __init__(self, program: CombLogic, inputs: Sequence[_Term | None]) -> None:
        self.program = program
        self.inputs = inputs
        self.references = program.ref_count
        self.known: dict[int, _Term | None] = {}

    def outputs(self) -> list[list[_Term]]:
        """The terms of every output; none where it is 0."""
        for index, op in enumerate(self.program.ops):
            if op.opcode == _INPUT:
                term = self.inputs[op.data[0]]
                shift = self.program.inp_shifts[op.data[0]]
                self.known[index] = None if term is None else term.scaled(shift, 1)
            elif self.references[index] > 1:
                terms = self._terms(index, 0, 1)
                self.known[index] = _sum(terms) if terms else None
        program = self.program
        places = zip(program.out_idxs, program.out_shifts, program.out_negs, strict=True)
        return [
            self._terms(index, shift, -1 if negative else 1) if index >= 0 else []
            for index, shift, negative in places
        ]

    def _terms(self, index: int, shift: int, sign: int) -> list[_Term]:
        if index in self.known:
            term = self.known[index]
            return [] if term is None else [term.scaled(shift, sign)]
        op = self.program.ops[index]
        (a, b), (b_shift,) = op.addr, op.data
        b_sign = -sign if op.opcode == _SUBTRACT else sign
        return self._terms(a, shift, sign) + self._terms(b, shift + b_shift, b_sign)


def _sum(terms: Sequence[_Term], deadline: float | None = None) -> _Term:
    """The sum of `terms`, by the cheapest plan that is ready by the `deadline` (None: the earliest)."""
    plans = [_plan(terms, weight) for weight in DEPTH_WEIGHTS]
    earliest = min(ready for _, ready, _ in plans)
    in_time = [plan for plan in plans if plan[1] <= (earliest if deadline is None else deadline)]
    _, _, steps = min(in_time, key=lambda plan: plan[0])
    terms = list(terms)
    for i, j in steps:
        total = _add(terms[i], terms[j])
        del terms[j]
        terms[i] = total
    return terms[0]


def _plan(terms: Sequence[_Term], depth_weight: float) -> tuple[float, float, list[tuple[int, int]]]:
    """Cost, delay and the pairs (i, j > i) to add in turn: j leaves the list, i becomes their sum."""
    terms = list(terms)
    prices = {(i, j): _price(terms[i], terms[j], depth_weight) for j in range(len(terms)) for i in range(j)}
    steps, cost = [], 0.0
    while len(terms) > 1:
        i, j = min(prices, key=prices.__getitem__)
        cost += _cells(terms[i], terms[j])
        terms[i] = _merged(terms[i], terms[j])
        del terms[j]
        steps.append((i, j))
        kept = {(a - (a > j), b - (b > j)): p for (a, b), p in prices.items() if j not in (a, b)}
        others = ((min(i, k), max(i, k)) for k in range(len(terms)) if k != i)
        prices = kept | {pair: _price(terms[pair[0]], terms[pair[1]], depth_weight) for pair in others}
    return cost, terms[0].delay, steps


def _price(a: _Term, b: _Term, depth_weight: float) -> float:
    cells = _cells(a, b)
    removed = (a.top - a.bottom) + (b.top - b.bottom) - (max(a.top, b.top) + 1 - min(a.bottom, b.bottom))
    return cells + WASTE_WEIGHT * (cells - removed) + depth_weight * max(a.delay, b.delay)


def _cells(a: _Term, b: _Term) -> float:
    """Cells of the adder of two terms; none where they have no bit place in common."""
    low, high = (a, b) if a.bottom < b.bottom else (b, a)
    if low.top <= high.bottom and low.low >= 0 and a.negative == b.negative:
        return 0
    start = max(a.bottom, b.bottom)
    if a.negative != b.negative:
        plus, minus = (b, a) if a.negative else (a, b)
        # Below the minuend a subtrahend must be negated, which takes cells; an addend is only wires.
        if minus.bottom < plus.bottom:
            start = minus.bottom + 1
    cells = max(max(a.top, b.top) - start, 0)
    return cells * (CONSTANT_WEIGHT if a.is_constant or b.is_constant else 1.0)


def _merged(a: _Term, b: _Term) -> _Term:
    """Bounds and delay of the sum, without a variable."""
    cells = _cells(a, b)
    delay = max(a.delay, b.delay) + (_ADDER_DELAY + _CELL_DELAY * cells if cells else 0)
    step = min(a.step, b.step)
    if a.negative == b.negative:
        return _Term(a.low + b.low, a.high + b.high, step, a.negative, delay)
    plus, minus = (b, a) if a.negative else (a, b)
    return _Term(plus.low - minus.high, plus.high - minus.low, step, False, delay)


def _add(a: _Term, b: _Term) -> _Term:
    if a.negative == b.negative:
        return _Term.of(_variable(a) + _variable(b), a.negative)
    plus, minus = (b, a) if a.negative else (a, b)
    return _Term.of(_variable(plus) - _variable(minus))


def _value(term: _Term) -> FVariable:
    return -_variable(term) if term.negative else _variable(term)


def _variable(term: _Term) -> FVariable:
    if term.variable is None:
        raise TypeError("this term is a plan's and stands for no variable")
    return term.variable


def _constant(like: FVariable, value: float) -> FVariable:
    return type(like).from_const(value, hwconf=like.hwconf)
