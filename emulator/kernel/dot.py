"""Dense layers by dot-product instructions, and the way of the words to them (AVX-512 VNNI)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from axo.emulator.kernel.plan import DotProduct, Packing, Plan
from axo.emulator.kernel.text import Function, block_function, table
from axo.network import Dense, FixedType, Relu
from axo.network.types import Ints

TILE = 24
"""Accumulators per pass over a layer's inputs: AVX-512 has 32 registers, and inputs need some too."""

REACH = 128
"""32-bit words that an offset of one byte reaches on each side of an address: AVX-512 counts it in words."""

AHEAD = 128
"""Events between the one that is read and the one whose words are fetched from memory meanwhile."""

INT16 = (-(1 << 15), (1 << 15) - 1)
EACH_VECTOR = "for (int s = 0; s < BLOCK; s += 16)"


def dot_functions(plan: Plan, operation: Dense) -> list[Function]:
    """The dense layer `operation` from its packed input, and the cast or ReLU fused with it."""
    product, packing = plan.dots[operation.name], plan.packings[operation.input]
    weight = _words(packing.weights(product.weight), packing.form)
    # A byte is short of its element by `zero`; modulo 2**32 like the accumulators.
    bias = (product.bias + packing.zero * product.weight.sum(0)).astype(np.int32)
    finish = _Finish(plan, operation, product)
    constants, body = _Constants(), []
    for outputs in _tiles(weight.shape[1]):
        body.append("    {")
        body += [f"        {line}" for line in _accumulate(plan, operation, weight, bias, outputs, constants)]
        body += [f"        {line}" for line in finish.lines(outputs)]
        body.append("    }")
    body = [table("int32_t", "constants", constants.values), f"{EACH_VECTOR} {{", *body, "}"]
    return [finish.function, block_function(f"compute_{operation.name}", body, "lanes32")]


class _Constants:
    """Numbers in the order in which the code reads them, through an address that moves along.

    Every weight is an operand in memory, so their addresses are most of the code: with offsets of one byte
    it does not outgrow the decoders.
    """

    def __init__(self) -> None:
        self.values: list[int] = []
        self.base = 0

    def start(self) -> str:
        """The declaration of the address ``c``, for a piece of code that starts here."""
        self.base = len(self.values) + REACH
        return f"const int32_t *c = hidden(constants, {self.base});"

    def next(self, value: int) -> tuple[list[str], str]:
        """A statement that moves the address on, if need be, and the expression of the next number."""
        move = []
        if len(self.values) >= self.base + REACH:
            self.base = len(self.values) + REACH
            move = [f"c = hidden(constants, {self.base});"]
        self.values.append(value)
        return move, f"c[{len(self.values) - 1 - self.base}]"


def _accumulate(
    plan: Plan,
    operation: Dense,
    weight: NDArray[np.int32],
    bias: NDArray[np.int32],
    outputs: range,
    constants: _Constants,
) -> list[str]:
    """Accumulators a0, a1, ... of `outputs`: bias plus all dot products whose weights are not all zero."""
    form = plan.packings[operation.input].form
    lines = [constants.start()]
    lines.append(f"int32x16 {', '.join(f'a{k}' for k in range(len(outputs)))};")
    for k, j in enumerate(outputs):
        move, number = constants.next(int(bias[j]))
        lines += [*move, f"BROADCAST(a{k}, {number});"]
    for group, row in enumerate(weight):
        used = [(k, int(row[j])) for k, j in enumerate(outputs) if row[j]]
        if used:
            lines.append(f"const int32x16 x{group} = LOAD(&b->{operation.input}_packed[{group}][s]);")
        for k, value in used:
            move, number = constants.next(value)
            lines += [*move, f"DOT_{form.upper()}(a{k}, x{group}, {number});"]
    return lines


def _words(weight: Ints, form: str) -> NDArray[np.int32]:
    """(groups, n_out) int32: the weights of a group in one word, the first in the lowest bits."""
    c_type = np.int8 if form == "bytes" else np.int16
    return np.ascontiguousarray(weight.transpose(0, 2, 1).astype(c_type)).view(np.int32)[:, :, 0]


def _tiles(n: int) -> list[range]:
    """0 to n - 1 in parts of at most TILE, each a multiple of 4 but the last: packed groups stay whole."""
    parts = -(-n // TILE)
    size = -(-n // (4 * parts)) * 4
    return [range(first, min(first + size, n)) for first in range(0, n, size)]


class _Finish:
    """What is done with the accumulators: wrap, cast or ReLU, and storage.

    When only the packed form of the result is read, and clipping to int16 first changes nothing,
    two outputs share a vector of int16 lanes.
    """

    def __init__(self, plan: Plan, operation: Dense, product: DotProduct) -> None:
        self.cast = plan.fused.get(operation.name)
        self.result = (self.cast or operation).name
        self.packing = plan.packings.get(self.result) if self.cast else None
        self.wanted = plan.wanted[self.result] if self.cast else {"lanes"}
        low, high = product.lowest, product.highest
        accum = operation.accum_type
        # Packing narrows int32 to int16 by an instruction that clips. Done first, the statements below serve
        # two outputs at a time; that is right only where what is clipped gives the same result.
        narrow = max(low, INT16[0]), min(high, INT16[1])
        self.short = self.wanted == {"packed"} and self._same(accum, (low, high), narrow)
        if self.short:
            lane = plan.finish(operation.name, self.cast, *narrow)
            self.short = lane.bits <= 16
        if not self.short:
            lane = plan.finish(operation.name, self.cast, low, high)
        vector = "int16x32" if self.short else "int32x16"
        self.name = f"finish_{operation.name}"
        code = "".join(f"    {line}\n" for line in lane.code)
        text = f"static inline {vector} {self.name}({vector} v) {{\n{code}    return v;\n}}\n"
        self.function = Function("lanes16" if self.short else "lanes32", text)

    def _same(self, accum: FixedType, whole: tuple[int, int], narrow: tuple[int, int]) -> bool:
        """Whether accumulators `whole` give the same result when first clipped to `narrow`."""
        if self.cast is None or not (accum.min_int <= whole[0] and whole[1] <= accum.max_int):
            return False
        if whole == narrow:
            return True
        # With saturation every step is monotonic: equal at both ends is equal beyond them.
        ends = np.array([whole, narrow])
        if isinstance(self.cast, Relu):
            ends = np.maximum(ends, 0)
        results = self.cast.type.cast(ends, accum.fraction)
        return self.cast.type.overflow in ("SAT", "SAT_SYM") and bool((results[0] == results[1]).all())

    def lines(self, outputs: range) -> list[str]:
        """Statements that take accumulators a0, a1, ... of `outputs` to the result's storage."""
        names = [f"a{k}" for k in range(len(outputs))]
        lines = [] if self.short else [f"{name} = {self.name}({name});" for name in names]
        if "lanes" in self.wanted:
            lines += [
                f"STORE(&b->{self.result}[{j}][s], {name});" for j, name in zip(outputs, names, strict=True)
            ]
        if "packed" in self.wanted and self.packing is not None:
            apply = self.name if self.short else ""
            lines += pack_lines(self.result, self.packing, outputs.start, names, apply)
        return lines


def pack_lines(name: str, packing: Packing, first: int, values: list[str], apply: str = "") -> list[str]:
    """Store the packed groups of elements `first`, ... from vectors of int32 lanes named `values`.

    `apply` is a function that two of them, side by side as int16, go through on the way.
    """
    per_group = len(packing.groups[0])
    minus = f" - K16({packing.zero})" if packing.zero else ""
    lines = []
    for start in range(0, len(values), per_group):
        members = values[start : start + per_group]
        members += ["(int32x16){0}"] * (per_group - len(members))
        halves = [
            f"{apply}(narrowed({a}, {b})){minus}" for a, b in zip(members[::2], members[1::2], strict=True)
        ]
        order = "paired" if packing.form == "pairs" else "quartered"
        # Tiles start at whole groups, so that no group has members in two of them.
        group = (first + start) // per_group
        lines.append(f"STORE(&b->{name}_packed[{group}][s], {order}({', '.join(halves)}));")
    return lines


def pack_function(name: str, packing: Packing, size: int) -> Function:
    """The packed form of a tensor from its lanes."""
    values = [f"LOAD(&b->{name}[{i}][s])" for i in range(size)]
    body = [f"{EACH_VECTOR} {{", *(f"    {line}" for line in pack_lines(name, packing, 0, values)), "}"]
    return block_function(f"pack_{name}", body, "lanes32")


def front_function(plan: Plan, name: str) -> Function:
    """The packed form of tensor `name` from the rows of the block: scale the words, then transpose."""
    packing, n_words = plan.packings[name], len(plan.network.words)
    per_chunk = 64 if packing.form == "bytes" else 32
    used = _used_groups(plan, name)
    # Words lie event by event, packed tensors group by group: 16 groups at a time (64 bytes, a vector an
    # event) are scaled and packed in `rows`, then turned over, 16 events at a time.
    body = ["int32_t rows[BLOCK][16] __attribute__((aligned(64)));"]
    for chunk in range(-(-n_words // per_chunk)):
        lines = [
            *_scale(plan, name, per_chunk * chunk, min(n_words, per_chunk * (chunk + 1))),
            f"{EACH_VECTOR} {{",
            "    __m512i r[16];",
            "    for (int i = 0; i < 16; i++) r[i] = _mm512_load_si512(rows[s + i]);",
            "    transpose(r);",
            *(
                f"    STORE(&b->{name}_packed[{group}][s], r[{group % 16}]);"
                for group in range(16 * chunk, 16 * chunk + 16)
                if used[group]
            ),
            "}",
        ]
        # In braces, for every chunk has tables of the same names.
        body += ["{", *(f"    {line}" for line in lines), "}"]
    return block_function(f"compute_{name}_packed", body, "lanes32")


def _used_groups(plan: Plan, name: str) -> list[bool]:
    """Which packed groups anything reads; weights that are all zero read nothing."""
    packing = plan.packings[name]
    if "lanes" in plan.wanted[name]:
        return [True] * len(packing.groups)
    weights = [
        packing.weights(plan.dots[reader.name].weight)
        for reader in plan.readers(name)
        if reader.name in plan.dots
    ]
    return [bool(group.any()) for group in np.concatenate(weights, axis=2)]


def _scale(plan: Plan, name: str, first: int, end: int) -> list[str]:
    """Fill ``rows`` with words `first` to `end` - 1 of every event, scaled and packed."""
    n_words, program, packing = len(plan.network.words), plan.fronts[name], plan.packings[name]
    starts = range(first, end, 32)
    tables, lines = [], []
    for k, start in enumerate(starts):
        count = min(32, end - start)
        address = f"b->rows + {n_words} * e + {start}"
        mask = (1 << count) - 1
        load = "_mm512_loadu_si512(" if count == 32 else f"_mm512_maskz_loadu_epi16({mask:#x}u, "
        lines.append(f"__m512i v{k} = {load}{address});")
        lines.append(f"__builtin_prefetch({address} + {n_words * AHEAD});")
        if program is not None:
            for field, values in program.columns(start, start + count).items():
                # Lanes beyond the last word are zeros: they are masked out of the load, too.
                tables.append(table("int16_t", f"{field}{k}", np.resize(np.append(values, [0] * 32), 32)))
            lines += _program_lines(program.columns(start, start + count), f"v{k}", k)
            lines += _clip_lines(program.low, program.high, packing.form, f"v{k}")
    packed = "v0"
    if packing.form == "bytes":
        packed = f"_mm512_packus_epi16(v0, {'v1' if len(starts) == 2 else '_mm512_setzero_si512()'})"
    return [
        *tables,
        "for (int e = 0; e < BLOCK; e++) {",
        *(f"    {line}" for line in lines),
        f"    STORE(rows[e], {packed});",
        "}",
    ]


_STEPS = (
    ("left", "{v} = _mm512_sllv_epi16({v}, {c});"),
    ("keep", "{v} = _mm512_and_si512({v}, {c});"),
    ("offset", "{v} = _mm512_sub_epi16({v}, {c});"),
    ("right", "{v} = _mm512_srav_epi16({v}, {c});"),
    ("rounding", "{v} = _mm512_adds_epi16({v}, {c});"),
    ("odd", "{v} = _mm512_adds_epi16({v}, {bit});"),
    ("drop", "{v} = _mm512_srav_epi16({v}, {c});"),
)
"""The form of axo.emulator.kernel.front, by the parameter that each instruction needs."""


def _program_lines(columns: dict[str, NDArray[np.int16]], v: str, k: int) -> list[str]:
    """The instructions of a word program on vector `v`, those that do nothing left out."""
    lines: list[str] = []
    idle = {"keep": -1}
    for field, step in _STEPS:
        # The bit that decides a tie is read from t, so before the rounding constant is added to it.
        if field == "odd" and columns["odd"].any():
            lines.insert(
                len(lines) - bool(columns["rounding"].any()),
                f"const __m512i bit{k} = _mm512_and_si512(_mm512_srlv_epi16({v}, "
                f"_mm512_load_si512(tie{k})), _mm512_load_si512(odd{k}));",
            )
        if (columns[field] != idle.get(field, 0)).any():
            lines.append(step.format(v=v, c=f"_mm512_load_si512({field}{k})", bit=f"bit{k}"))
    return lines


def _clip_lines(low: int, high: int, form: str, v: str) -> list[str]:
    """Saturation of the program's result; packing to unsigned bytes does 0 and 255 by itself."""
    lines = []
    if form == "pairs" or high < 255:
        lines.append(f"{v} = _mm512_min_epi16({v}, _mm512_set1_epi16({high}));")
    if form == "pairs":
        lines.append(f"{v} = _mm512_max_epi16({v}, _mm512_set1_epi16({low}));")
    return lines
