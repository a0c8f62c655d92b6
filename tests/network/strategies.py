"""Hypothesis strategies: random networks over all that the format can express, and words for them."""

from __future__ import annotations

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from axo.errors import UserError
from axo.layout import layout_of_words
from axo.network import (
    WORDS,
    Dense,
    Dot,
    FixedType,
    Linear,
    Network,
    Offset,
    Operation,
    Relu,
    Scale,
    Shift,
    Subtract,
    SumOfSquares,
    Word,
    analyse,
)
from axo.network.types import OVERFLOWS, ROUNDINGS

INT16 = np.iinfo(np.int16)


@st.composite
def fixed_types(draw, near_fraction: int, max_width: int, signed: bool | None = None) -> FixedType:
    """A type whose last bit is near `near_fraction`, so that it neither keeps nor drops everything."""
    width = draw(st.integers(1, max_width))
    fraction = near_fraction + draw(st.integers(-6, max_width // 4))
    return FixedType(
        width,
        width - fraction,
        draw(st.booleans()) if signed is None else signed,
        draw(st.sampled_from(ROUNDINGS)),
        draw(st.sampled_from(OVERFLOWS)),
    )


class _Builder:
    """Appends operations to a network that grows; every choice comes from hypothesis' `draw`.

    Constants come from a generator seeded by one draw: thousands of weights drawn one by one
    would exhaust hypothesis' budget.
    """

    def __init__(self, draw, max_width: int, max_size: int, wide_words: bool = False) -> None:
        self.draw = draw
        self.max_width = max_width
        self.max_size = max_size
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.words = tuple(draw(st.lists(_words(wide_words), min_size=1, max_size=max_size)))
        self.words = tuple(Word(f"w{i}", word.width, word.signed) for i, word in enumerate(self.words))
        self.operations: list[Operation] = []
        bits = np.dtype(layout_of_words(self.words).dtype).itemsize * 8
        self.types: dict[str, FixedType] = {WORDS: FixedType(bits, bits)}
        self.sizes: dict[str, int] = {WORDS: len(self.words)}

    def append(self, kind: str, source: str, **wanted) -> str:
        name = f"t{len(self.operations)}_{kind}"
        operation = getattr(self, f"_{kind}")(name, source, **wanted)
        self.operations.append(operation)
        self.types[name], self.sizes[name] = operation.result(self.types, self.sizes)
        return name

    def source(self) -> str:
        """Mostly the last tensor; now and then an earlier one, which makes the graph branch."""
        names = list(self.types)
        return names[-1] if self.draw(st.integers(0, 3)) else self.draw(st.sampled_from(names))

    def partner(self, source: str) -> str:
        """A tensor of the same size (at least the source itself)."""
        return self.draw(
            st.sampled_from([name for name, size in self.sizes.items() if size == self.sizes[source]])
        )

    def type(self, near_fraction: int, signed: bool | None = None, max_width: int | None = None) -> FixedType:
        near_fraction = int(np.clip(near_fraction, -20, 20))
        return self.draw(fixed_types(near_fraction, max_width or self.max_width, signed))

    def constants(self, kind: FixedType, shape: tuple[int, ...]) -> np.ndarray:
        """Values of `kind`, some of them zero or at the ends."""
        values = self.rng.integers(kind.min_int, kind.max_int, shape, endpoint=True)
        ends = self.rng.choice(np.array([kind.min_int, 0, kind.max_int]), shape)
        return np.where(self.rng.random(shape) < self.draw(st.sampled_from([0, 0.3, 0.9])), ends, values)

    def _linear(self, name: str, source: str, signed: bool | None = None, max_width: int | None = None):
        return Linear(name, source, self.type(self.types[source].fraction, signed, max_width))

    def _relu(self, name: str, source: str, signed: bool | None = None, max_width: int | None = None):
        return Relu(name, source, self.type(self.types[source].fraction, signed, max_width))

    def _shift(self, name: str, source: str):
        reach = self.draw(st.sampled_from([2, 6, 31]))
        return Shift(name, source, self.rng.integers(-reach, reach, self.sizes[source], endpoint=True))

    def _offset(self, name: str, source: str):
        fraction = self.types[source].fraction
        kind = self.type(fraction)
        offset = self.constants(kind, (self.sizes[source],))
        return Offset(name, source, offset, kind, self.type(fraction))

    def _scale(self, name: str, source: str):
        fraction, n = self.types[source].fraction, self.sizes[source]
        kind = self.type(self.draw(st.integers(0, 4)), max_width=min(10, self.max_width))
        bias_type = self.type(fraction + kind.fraction)
        scale, bias = self.constants(kind, (n,)), self.constants(bias_type, (n,))
        return Scale(name, source, scale, kind, bias, bias_type, self.type(fraction))

    def _subtract(self, name: str, source: str):
        return Subtract(name, source, self.partner(source), self.type(self.types[source].fraction))

    def _dense(self, name: str, source: str, n_out: int | None = None, accum: FixedType | None = None):
        n_out = n_out or self.draw(st.integers(1, self.max_size))
        weight_type = self.type(self.draw(st.integers(0, 4)), max_width=min(8, self.max_width))
        fraction = self.types[source].fraction + weight_type.fraction
        bias_type = self.type(fraction)
        return Dense(
            name,
            source,
            self.constants(weight_type, (self.sizes[source], n_out)),
            weight_type,
            self.constants(bias_type, (n_out,)),
            bias_type,
            accum or self.accumulator(fraction),
        )

    def accumulator(self, fraction: int) -> FixedType:
        """Often one that keeps every bit, as production networks have; else anything."""
        if self.draw(st.integers(0, 3)):
            width = 26 if self.max_width <= 24 else 50
            return FixedType(width, width - fraction)
        return self.type(fraction)

    def _sum_of_squares(self, name: str, source: str):
        return SumOfSquares(name, source, *self.sum_types(2 * self.types[source].fraction))

    def _dot(self, name: str, source: str):
        other = self.partner(source)
        types = self.sum_types(self.types[source].fraction + self.types[other].fraction)
        return Dot(name, source, *types, other)

    def sum_types(self, fraction: int) -> tuple[FixedType, FixedType]:
        product = self.type(fraction)
        return product, self.type(product.fraction, signed=False, max_width=min(31, self.max_width))

    def network(self) -> Network:
        """The network so far; hypothesis draws anew when its values do not fit in int64."""
        scores = [
            name
            for name, kind in self.types.items()
            if self.sizes[name] == 1 and not kind.signed and kind.width <= 31
        ]
        embeddings = [name for name, kind in self.types.items() if kind.width <= 31 and name != WORDS]
        network = Network(
            "random",
            layout_of_words(self.words),
            tuple(self.operations),
            scores[-1],
            self.draw(st.sampled_from(embeddings)),
        )
        try:
            analyse(network, hardware_words=False)
        except UserError:
            reject()
        return network


@st.composite
def _words(draw, wide: bool = False) -> Word:
    """Words that int16 holds, or (`wide`) some of them beyond."""
    signed = draw(st.booleans())
    bits = draw(st.sampled_from([15, 15, 20, 31])) if wide else 15
    return Word("w", draw(st.integers(0, bits + signed)), signed)


_KINDS = ("linear", "relu", "shift", "offset", "subtract", "scale", "dense", "sum_of_squares", "dot")


@st.composite
def networks(
    draw, max_width: int = 24, max_size: int = 9, max_operations: int = 7, wide_words: bool = False
) -> Network:
    """Any valid network: a random graph of all operations, its score a sum, a dot or a 1-wide layer."""
    builder = _Builder(draw, max_width, max_size, wide_words)
    for kind in draw(st.lists(st.sampled_from(_KINDS), max_size=max_operations)):
        builder.append(kind, builder.source())
    _append_score(builder, builder.source())
    return builder.network()


def _append_score(builder: _Builder, source: str) -> None:
    ending = builder.draw(st.sampled_from(["sum_of_squares", "dot", "relu", "linear"]))
    if ending in ("sum_of_squares", "dot"):
        builder.append(ending, source)
    else:
        dense = builder.append("dense", source, n_out=1)
        builder.append(ending, dense, signed=False, max_width=min(31, builder.max_width))


@st.composite
def encoder_decoders(draw, max_width: int = 16, max_size: int = 9) -> Network:
    """An encoder to an inner embedding and back; the score is (decoded - x)·(decoded - x)."""
    builder = _Builder(draw, max_width, max_size)
    scaled = builder.append("linear", builder.append("offset", WORDS), max_width=8)
    hidden = builder.append("relu", builder.append("dense", scaled), signed=False)
    decoded = builder.append("dense", hidden, n_out=builder.sizes[scaled])
    difference = Subtract("difference", decoded, scaled, builder.type(builder.types[scaled].fraction))
    builder.operations.append(difference)
    builder.types["difference"], builder.sizes["difference"] = difference.type, builder.sizes[scaled]
    product, total = builder.sum_types(2 * difference.type.fraction)
    builder.operations.append(Dot("score", "difference", product, total, "difference"))
    builder.types["score"], builder.sizes["score"] = total, 1
    return builder.network()


@st.composite
def production_networks(draw, max_size: int = 20, wide_words: bool = False) -> Network:
    """What a trigger deploys: scaled words, dense and ReLU layers without overflow, Σx² of the last."""
    builder = _Builder(draw, 12, max_size, wide_words)
    saturation = draw(st.sampled_from(["SAT", "SAT_SYM"]))
    rounding = draw(st.sampled_from(ROUNDINGS))
    operations = builder.operations

    def add(operation: Operation) -> str:
        operations.append(operation)
        builder.types[operation.name], builder.sizes[operation.name] = operation.result(
            builder.types, builder.sizes
        )
        return operation.name

    def quantised(name: str, source: str, width: int, fraction: int, relu: bool = False) -> str:
        kind = FixedType(width, width - fraction, not relu, rounding, saturation)
        return add((Relu if relu else Linear)(name, source, kind))

    n, rng = len(builder.words), builder.rng
    unscaled = FixedType(18, draw(st.sampled_from([13, 15, 18])))
    last = add(Shift("halved", WORDS, rng.integers(0, 2, n)))
    last = add(Linear("unscaled", last, unscaled))
    offset_type = FixedType(10, draw(st.integers(9, 10)))
    last = add(Offset("centred", last, builder.constants(offset_type, (n,)), offset_type, unscaled))
    last = add(Shift("scaled", last, rng.integers(-2, 8, n)))
    last = quantised("network_input", last, draw(st.integers(3, 10)), draw(st.integers(0, 3)))
    for layer in range(draw(st.integers(1, 3))):
        weight_type = FixedType(draw(st.integers(2, 8)), draw(st.integers(0, 3)))
        bits = builder.types[last].fraction + weight_type.fraction
        bias_type = FixedType(10, 10 - draw(st.integers(0, max(bits, 0))))
        n_out = draw(st.integers(1, max_size))
        weight = builder.constants(weight_type, (builder.sizes[last], n_out))
        bias, accum = builder.constants(bias_type, (n_out,)), FixedType(28, 28 - bits)
        last = add(Dense(f"dense{layer}", last, weight, weight_type, bias, bias_type, accum))
        last = quantised(
            f"layer{layer}", last, draw(st.integers(4, 12)), draw(st.integers(0, 5)), draw(st.booleans())
        )
    square, total = FixedType(18, 14, False), FixedType(18, 14, False)
    add(SumOfSquares("score", last, square, total))
    return builder.network()


def any_networks() -> st.SearchStrategy[Network]:
    """Random graphs of narrow, usual and wide types, encoder-decoders and production networks."""
    return st.one_of(
        networks(12),
        networks(24),
        networks(44),
        encoder_decoders(),
        production_networks(),
        networks(24, wide_words=True),
        networks(44, wide_words=True),
        production_networks(wide_words=True),
    )


@st.composite
def words_for(draw, network: Network, hardware: bool = False, max_events: int = 40) -> np.ndarray:
    """(n, words) of the layout's type, C-contiguous: realistic, extreme, empty and (unless `hardware`)
    any events that a network takes.
    """
    n = draw(st.integers(1, max_events))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low = np.array([word.min_int for word in network.words])
    high = np.array([word.max_int for word in network.words])
    shape = (n, len(network.words))
    kinds = [
        rng.integers(low, high, shape, endpoint=True),
        # Mostly small, as objects near threshold are.
        np.clip(rng.integers(low, high, shape, endpoint=True) >> rng.integers(0, 12, shape), low, high),
        np.where(rng.integers(0, 2, shape), low, high),
        np.zeros(shape, np.int64),
    ]
    if not hardware:
        lowest, highest = network.word_bounds
        kinds += [
            rng.integers(lowest, highest, shape, endpoint=True),
            rng.choice(np.array([INT16.min, -1, 0, 1, INT16.max]), shape),
            np.where(rng.integers(0, 2, shape), lowest, highest),
        ]
    return np.choose(rng.integers(0, len(kinds), (n, 1)), kinds).astype(network.layout.dtype)
