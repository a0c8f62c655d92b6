"""What is computed how: storages, dot products and fusions, each chosen where a proof allows it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from axo.emulator.kernel.front import WordProgram, word_program
from axo.emulator.kernel.lane import Lane
from axo.network import WORDS, Dense, Linear, Network, Operation, Relu, analyse
from axo.network.intervals import Interval
from axo.network.types import Ints

PER_GROUP = {"bytes": 4, "pairs": 2}
INT32 = (-(1 << 31), (1 << 31) - 1)


@dataclass(frozen=True)
class Packing:
    """A tensor as groups of 4 bytes or 2 int16 per 32-bit lane, for dot products.

    `groups[g]` lists the elements in group g, None where there is none. A byte is unsigned and
    holds the element minus `zero`.
    """

    form: str
    groups: tuple[tuple[int | None, ...], ...]
    zero: int

    def places(self) -> list[tuple[int, int]]:
        """(group, position) of each element in turn."""
        found = {
            element: (group, position)
            for group, members in enumerate(self.groups)
            for position, element in enumerate(members)
            if element is not None
        }
        return [found[element] for element in range(len(found))]

    def weights(self, weight: Ints) -> Ints:
        """`weight` (n_in, n_out) regrouped: (groups, elements per group, n_out), zero where none."""
        padded = np.vstack([weight, np.zeros((1, weight.shape[1]), np.int64)])
        index = [[len(weight) if i is None else i for i in members] for members in self.groups]
        grouped: Ints = padded[np.array(index)]
        return grouped


@dataclass(frozen=True)
class DotProduct:
    """A dense layer as exact dot products: integers in units of the accumulator's last bit.

    `low` to `high` (n_out,) bound the totals, which fit in int32.
    """

    weight: Ints
    bias: Ints
    low: Ints
    high: Ints

    @property
    def lowest(self) -> int:
        """Lower bound of all totals."""
        return int(self.low.min())

    @property
    def highest(self) -> int:
        """Upper bound of all totals."""
        return int(self.high.max())


class Plan:
    """The decisions for one network and one kind of machine.

    `wanted[t]` is the set of storages ("lanes", "packed") in which tensor t is read. `packings`
    describes the packed ones; `fronts` has those that come straight from the words, with their
    program (None: the words themselves); only int16 words (`narrow`) have any. `dots` are the dense
    layers done by dot products, and `fused` the cast or ReLU that is done with one, by the name of the
    dense layer.
    """

    def __init__(self, network: Network, vnni: bool) -> None:
        self.network = network
        self.vnni = vnni
        self.narrow = network.layout.dtype is np.int16
        self.analysis = analyse(network, hardware_words=False)
        self.live = _live(network)
        self.dots: dict[str, DotProduct] = {}
        self.packings: dict[str, Packing] = {}
        self.fronts: dict[str, WordProgram | None] = {}
        self.fused: dict[str, Linear] = {}
        self.wanted: dict[str, set[str]] = {name: set() for name in network.types}
        if vnni:
            self._choose_dots()
            self._choose_fusions()
        self._choose_storages()

    def interval(self, name: str) -> Interval:
        """Bounds of every element of a tensor, over all words that the network takes."""
        return self.analysis.intervals[name]

    def hull(self, name: str) -> tuple[int, int]:
        """Bounds of a tensor as a whole."""
        interval = self.interval(name)
        return int(interval.low.min()), int(interval.high.max())

    def c_type(self, name: str) -> str:
        """Type of the lanes of a tensor."""
        low, high = self.hull(name)
        return "int32_t" if INT32[0] <= low and high <= INT32[1] else "int64_t"

    def readers(self, name: str) -> list[Operation]:
        """The live operations that read a tensor."""
        return [operation for operation in self.live if name in operation.inputs]

    def never_saturates(self, operation: Dense, products: Ints) -> bool:
        """Whether neither a product nor a running total can leave a saturating accumulator."""
        accum = operation.accum_type
        lowest = accum.min_int + (accum.overflow == "SAT_SYM" and accum.signed)
        fits = bool((products >= lowest).all() and (products <= accum.max_int).all())
        return fits and operation.name not in self.analysis.saturating

    def finish(self, name: str, cast: Linear | None, low: int, high: int) -> Lane:
        """What takes a total of dot product `name`, from `low` to `high`, to its type and through `cast`."""
        accum = self.network.types[name]
        lane = Lane(low, high)
        if accum.overflow == "WRAP":
            lane.wrap(accum)
        if isinstance(cast, Relu):
            lane.relu()
        if cast is not None:
            lane.cast(accum.fraction, cast.type)
        return lane

    def _choose_dots(self) -> None:
        for operation in self.live:
            product = _dot_product(self, operation) if isinstance(operation, Dense) else None
            if product is not None:
                self.dots[operation.name] = product
        # A tensor is packed once, in one form that serves all dot products that read it.
        for name in dict.fromkeys(self.network.operation(dot).input for dot in self.dots):
            self._pack(name)

    def _pack(self, name: str) -> None:
        """Choose the narrowest form that all dot products reading tensor `name` allow."""
        low, high = self.hull(name)
        weights = [self.dots[reader.name].weight for reader in self.readers(name) if reader.name in self.dots]
        small = all(weight.min() >= -128 and weight.max() <= 127 for weight in weights)
        form = "bytes" if small and high - min(low, 0) <= 255 else "pairs"
        zero = min(low, 0) if form == "bytes" else 0
        n = self.network.sizes[name]
        program = None if name == WORDS else word_program(self.network, name, zero)
        if program is not None or (name == WORDS and self.narrow):
            self.fronts[name] = program
            self.packings[name] = Packing(form, _front_groups(form, n), zero)
        else:
            self.packings[name] = Packing(form, _groups(range(n), n, PER_GROUP[form]), zero)

    def _choose_fusions(self) -> None:
        """A cast or ReLU that alone reads a dot product is done on its accumulators."""
        results = (self.network.score, self.network.embedding)
        for operation in self.live:
            alone = operation.input not in results and len(self.readers(operation.input)) == 1
            if isinstance(operation, Linear) and operation.input in self.dots and alone:
                product = self.dots[operation.input]
                lane = self.finish(operation.input, operation, product.lowest, product.highest)
                if lane.bits <= 32:  # a cast that appends bits may need more on the way
                    self.fused[operation.input] = operation

    def _choose_storages(self) -> None:
        self.wanted[self.network.score].add("lanes")
        self.wanted[self.network.embedding].add("lanes")
        # Backwards: what is stored of a tensor is known when all its readers have been asked. What a front or
        # a fusion computes on its way is stored nowhere, so that its inputs are not wanted for it.
        for operation in reversed(self.live):
            result = self.fused.get(operation.name, operation).name
            inside = operation.name in self.fronts or operation.input in self.fused
            if inside or not self.wanted[result]:
                continue
            for source in operation.inputs:
                self.wanted[source].add("packed" if operation.name in self.dots else "lanes")
        if self.vnni and self.narrow and self.wanted[WORDS] and WORDS not in self.fronts:
            self.fronts[WORDS] = None
            self.packings[WORDS] = Packing("pairs", _front_groups("pairs", self.network.sizes[WORDS]), 0)


def _live(network: Network) -> list[Operation]:
    """The operations that the score or the embedding depends on."""
    needed = {network.score, network.embedding}
    live = []
    for operation in reversed(network.operations):
        if operation.name in needed:
            needed.update(operation.inputs)
            live.append(operation)
    return live[::-1]


def _dot_product(plan: Plan, operation: Dense) -> DotProduct | None:
    """`operation` as dot products of int16 at most with int32 totals, when that is exact."""
    accum, x = operation.accum_type, plan.interval(operation.input)
    fraction = plan.network.types[operation.input].fraction + operation.weight_type.fraction
    # Finer products than the accumulator's last bit would be rounded one by one: up must not be negative.
    up = accum.fraction - fraction
    largest = int(np.abs(operation.weight).max()) << max(up, 0)
    if up < 0 or largest >= 1 << 15 or x.low.min() < -(1 << 15) or x.high.max() >= 1 << 15:
        return None
    weight = operation.weight << up
    bias = accum.cast(operation.bias, operation.bias_type.fraction)
    ends = np.stack([x.low[:, None] * weight, x.high[:, None] * weight])
    # The instructions add modulo 2**32: partial sums may wrap, if only the totals fit.
    low, high = bias + ends.min(0).sum(0), bias + ends.max(0).sum(0)
    if low.min() < INT32[0] or high.max() > INT32[1]:
        return None
    if accum.overflow != "WRAP" and not plan.never_saturates(operation, ends):
        return None
    return DotProduct(weight, bias, low, high)


def _groups(order: Iterable[int], n: int, per_group: int) -> tuple[tuple[int | None, ...], ...]:
    """`order` cut into groups; what is not an element 0 to n - 1 becomes None."""
    elements = [i if i < n else None for i in order]
    elements += [None] * (-len(elements) % per_group)
    return tuple(tuple(elements[i : i + per_group]) for i in range(0, len(elements), per_group))


def _front_groups(form: str, n: int) -> tuple[tuple[int | None, ...], ...]:
    """Order in which the front delivers `n` words: as they come in pairs, or as they are packed.

    The pack instruction puts two vectors of 32 words together in quarters: eight words of the
    first, eight of the second, and so on.
    """
    if form == "pairs":
        return _groups(range(-(-n // 32) * 32), n, 2)
    order = [
        64 * chunk + 32 * half + 8 * quarter + i
        for chunk in range(-(-n // 64))
        for quarter in range(4)
        for half in range(2)
        for i in range(8)
    ]
    return _groups(order, n, 4)
