"""Made-up events that hardware could carry, for the tests of all formats."""

import numpy as np
import pytest

from axo.events import Events
from axo.network import CMS_WORDS


def hardware_words(rng, n):
    """(n, 57) int16: any number of objects of each kind in falling pt, any eta and phi word."""
    low = np.array([word.min_int for word in CMS_WORDS])
    high = np.array([word.max_int for word in CMS_WORDS])
    words = rng.integers(low, high + 1, (n, 57)).astype(np.int16)
    for first, count in ((1, 4), (5, 4), (9, 10)):
        block = words[:, 3 * first : 3 * (first + count)].reshape(n, count, 3)
        absent = np.arange(count) >= rng.integers(0, count + 1, n)[:, None]
        block[..., 0] = np.where(absent, 0, np.maximum(block[..., 0], 1))
        block[..., 0] = -np.sort(-block[..., 0], axis=1)
        block[absent] = 0
    return words


@pytest.fixture(scope="session")
def make_events():
    """make_events(seed, n) -> Events with every column, extra and three seeds."""

    def make(seed, n):
        rng = np.random.default_rng(seed)
        return Events(
            hardware_words(rng, n),
            run=rng.integers(0, 2**32, n),
            luminosity_block=rng.integers(0, 2**32, n),
            event=rng.integers(0, 2**64, n, dtype=np.uint64),
            bunch_crossing=rng.integers(0, 3564, n),
            orbit=rng.integers(0, 2**32, n),
            pileup=rng.integers(0, 200, n),
            average_pileup=rng.uniform(0, 200, n),
            weight=rng.normal(1, 1, n),
            extras={
                "htt_pt": rng.integers(0, 4096, n),
                "ett_pt": rng.integers(0, 4096, n),
                "methf_pt": rng.integers(0, 4096, n),
                "eg_iso": rng.integers(0, 4, (n, 4)),
                "mu_qual": rng.integers(0, 16, (n, 4)),
                "mu_charge": rng.integers(-1, 2, (n, 4)),
            },
            seed_bits=rng.integers(0, 2, (n, 3)).astype(bool),
            seed_names=("L1_A", "L1_B", "L1_μ"),
        )

    return make


@pytest.fixture(scope="session")
def assert_same():
    """assert_same(a, b): equal in every array, name and flag."""

    def check(a, b):
        np.testing.assert_array_equal(a.words, b.words)
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
