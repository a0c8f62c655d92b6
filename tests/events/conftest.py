"""Made-up events that hardware could carry, for the tests of all formats."""

import numpy as np
import pytest

from axo.events import EXTRAS, Events
from axo.layout import find_layout


def hardware_words(rng, n, layout=None):
    """(n, n_words): any number of objects of each kind, falling pt where due, any other words."""
    layout = layout or find_layout("cms_axol1tl")
    words = rng.integers(layout.low, layout.high + 1, (n, len(layout.words))).astype(layout.dtype)
    first = 0
    for kind in layout.kinds:
        width = len(kind.quantities)
        block = words[:, first : first + kind.count * width].reshape(n, kind.count, width)
        first += kind.count * width
        if kind.present != "pt":
            continue
        pt = [quantity.role for quantity in kind.quantities].index("pt")
        absent = np.arange(kind.count) >= rng.integers(0, kind.count + 1, n)[:, None]
        block[..., pt] = np.where(absent, 0, np.maximum(block[..., pt], 1))
        if kind.order == "pt":
            block[..., pt] = -np.sort(-block[..., pt], axis=1)
        block[absent] = 0
    return words


def random_extras(rng, n, layout):
    """Every extra that may stand beside words of `layout`."""
    extras = {}
    for name, extra in EXTRAS.items():
        if columns := extra.columns(layout):
            shape = (n, columns) if columns > 1 else n
            extras[name] = rng.integers(extra.low, extra.high + 1, shape)
    return extras


@pytest.fixture(scope="session")
def make_events():
    """make_events(seed, n, layout) -> Events with every column, extra and three seeds."""

    def make(seed, n, layout=None):
        rng = np.random.default_rng(seed)
        layout = layout or find_layout("cms_axol1tl")
        return Events(
            hardware_words(rng, n, layout),
            run=rng.integers(0, 2**32, n),
            luminosity_block=rng.integers(0, 2**32, n),
            event=rng.integers(0, 2**64, n, dtype=np.uint64),
            bunch_crossing=rng.integers(0, 3564, n),
            orbit=rng.integers(0, 2**32, n),
            pileup=rng.integers(0, 200, n),
            average_pileup=rng.uniform(0, 200, n),
            weight=rng.normal(1, 1, n),
            extras=random_extras(rng, n, layout),
            layout=layout,
            seed_bits=rng.integers(0, 2, (n, 3)).astype(bool),
            seed_names=("L1_A", "L1_B", "L1_μ"),
        )

    return make


@pytest.fixture(scope="session")
def assert_same():
    """assert_same(a, b): equal in every array, name and flag."""

    def check(a, b):
        np.testing.assert_array_equal(a.words, b.words, strict=True)
        assert a.layout == b.layout
        assert (a.columns, set(a.extras), a.seed_names, a.pt_ordered) == (
            b.columns,
            set(b.extras),
            b.seed_names,
            b.pt_ordered,
        )
        for name in a.columns:
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), strict=True)
        for name, array in a.extras.items():
            np.testing.assert_array_equal(array, b.extras[name], strict=True)

    return check
