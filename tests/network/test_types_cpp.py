"""FixedType.cast and Shift against the C++ ap_fixed headers that hls4ml ships (Xilinx's own)."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from axo.network.operations import Shift
from axo.network.reference import apply
from axo.network.types import OVERFLOWS, ROUNDINGS, FixedType

# Largest widths in bits of (source, target): wide sources, narrow ones, ordinary ones, wide targets.
WIDTHS = ((44, 24), (7, 7), (24, 16), (24, 24), (12, 44))
VALUES_PER_CASE = 600

PROGRAM = """
#include <cstdint>
#include <cstdio>
#include <vector>
#include "ap_fixed.h"

typedef void (*Case)(int64_t *, int64_t);

template <class T> T from_bits(int64_t bits) {
    ap_int<64> wide = bits;
    T value;
    value.range(T::width - 1, 0) = wide.range(T::width - 1, 0);
    return value;
}

template <class T> int64_t to_bits(T value, bool is_signed) {
    ap_uint<T::width> bits = value.range(T::width - 1, 0);
    int64_t wide = bits.to_uint64();
    return is_signed && (wide >> (T::width - 1)) ? wide - (int64_t(1) << T::width) : wide;
}

template <class S, class T, bool is_signed> void assign(int64_t *values, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        T target = from_bits<S>(values[i]);
        values[i] = to_bits<T>(target, is_signed);
    }
}

template <class S, int amount, bool is_signed> void shift(int64_t *values, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        values[i] = to_bits<S>(from_bits<S>(values[i]) >> amount, is_signed);
}

static const Case cases[] = {
%s
};

int main() {
    for (Case run : cases) {
        int64_t n;
        if (fread(&n, sizeof n, 1, stdin) != 1) return 1;
        std::vector<int64_t> values(n);
        if (fread(values.data(), sizeof n, n, stdin) != size_t(n)) return 1;
        run(values.data(), n);
        fwrite(values.data(), sizeof n, n, stdout);
    }
}
"""


def run_cpp(cases: list[str], inputs: list[np.ndarray], folder: Path) -> list[np.ndarray]:
    """Compile one program with all `cases` (template instances) and give each its int64 inputs."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    hls4ml = importlib.util.find_spec("hls4ml")
    if hls4ml is None:
        pytest.skip("hls4ml, which ships the ap_fixed headers, is not installed")
    headers = Path(hls4ml.submodule_search_locations[0]) / "templates" / "vivado" / "ap_types"
    (folder / "cases.cpp").write_text(PROGRAM % ",\n".join(cases))
    # NDEBUG: an assertion of the headers refuses to read a rounding bit above a source that lies
    # wholly below the target's last bit, though its value is not used.
    flags = ["-std=c++17", "-w", "-O0", "-DNDEBUG", f"-I{headers}"]
    subprocess.run(["g++", *flags, "cases.cpp", "-o", "cases"], cwd=folder, check=True, timeout=300)
    data = b"".join(np.int64(len(values)).tobytes() + values.astype(np.int64).tobytes() for values in inputs)
    out = subprocess.run([folder / "cases"], input=data, stdout=subprocess.PIPE, check=True).stdout
    ends = np.cumsum([len(values) for values in inputs])
    return np.split(np.frombuffer(out, np.int64), ends[:-1])


def random_type(rng, rounding="TRN", overflow="WRAP", max_width=24) -> FixedType:
    """Integer bits from -5 (all below the point) to 5 more than the width."""
    width = int(rng.integers(1, max_width + 1))
    return FixedType(width, int(rng.integers(-5, width + 6)), bool(rng.integers(2)), rounding, overflow)


def values_of(kind: FixedType, rng) -> np.ndarray:
    """Every value of a narrow type; else the ends, powers of two and their neighbours, and random ones."""
    if kind.width <= 9:
        return np.arange(kind.min_int, kind.max_int + 1)
    powers = np.array([s * (1 << b) for b in range(kind.width) for s in (1, -1)])
    near = np.concatenate([[kind.min_int, kind.max_int, 0], powers])[:, None] + np.arange(-2, 3)
    random = rng.integers(kind.min_int, kind.max_int + 1, VALUES_PER_CASE)
    values = np.concatenate([near.ravel(), random])
    return values[(values >= kind.min_int) & (values <= kind.max_int)]


def conversions(rng) -> list[tuple[FixedType, FixedType]]:
    """Source and target types: every mode, every pair of signs, narrow, wide and far-apart ones."""
    pairs = []
    for rounding, overflow in product(ROUNDINGS, OVERFLOWS):
        for source_width, target_width in WIDTHS:
            target = random_type(rng, rounding, overflow, target_width)
            pairs.append((random_type(rng, max_width=source_width), target))
    return pairs


def test_cast_is_that_of_the_cpp_headers(tmp_path):
    rng = np.random.default_rng(20240611)
    pairs = conversions(rng)
    inputs = [values_of(source, rng) for source, _ in pairs]
    cases = [f"assign<{s.cpp}, {t.cpp}, {str(t.signed).lower()}>" for s, t in pairs]
    assert {(t.rounding, t.overflow) for _, t in pairs} == set(product(ROUNDINGS, OVERFLOWS))
    wrong = []
    for (source, target), values, expected in zip(
        pairs, inputs, run_cpp(cases, inputs, tmp_path), strict=True
    ):
        found = target.cast(values, source.fraction)
        for i in np.flatnonzero(found != expected)[:1]:
            wrong.append(f"{source} {values[i]} -> {target}: {found[i]}, C++ {expected[i]}")
    assert not wrong, f"{len(wrong)} of {len(pairs)} differ:\n" + "\n".join(wrong)


def test_shift_is_that_of_the_cpp_headers(tmp_path):
    rng = np.random.default_rng(7)
    kinds = [
        random_type(rng, *modes) for modes in product(("TRN", "RND"), ("WRAP", "SAT")) for _ in range(20)
    ]
    amounts = [int(rng.integers(-31, 32)) for _ in kinds]
    inputs = [values_of(kind, rng) for kind in kinds]
    cases = [f"shift<{k.cpp}, {a}, {str(k.signed).lower()}>" for k, a in zip(kinds, amounts, strict=True)]
    for kind, amount, values, expected in zip(
        kinds, amounts, inputs, run_cpp(cases, inputs, tmp_path), strict=True
    ):
        operation = Shift("shifted", "x", np.array([amount]))
        found = apply(operation, {"x": values[:, None]}, {"x": kind})[:, 0]
        np.testing.assert_array_equal(found, expected, err_msg=f"{kind} >> {amount}")
