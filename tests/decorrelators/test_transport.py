"""The software transport against conditional distributions that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from axo.decorrelators.information import mutual_information
from axo.decorrelators.transport import fit_transport, read_transport, write_transport
from axo.errors import UserError

NAMES = ("htt_gev", "met_gev")


def sample(n, seed):
    """score = (1 + u) e, e of unit exponential distribution: -ln P(score' >= score | u) = e."""
    rng = np.random.default_rng(seed)
    u, v, e = rng.uniform(0, 4, n), rng.normal(size=n), rng.exponential(size=n)
    return (1 + u) * e, np.stack([u, v], axis=1), e


@pytest.fixture(scope="module")
def transport():
    score, variables, _ = sample(200_000, 1)
    return fit_transport(score, variables, NAMES, leaf_events=2000, trees=4)


def test_known_conditional_distribution(transport):
    score, variables, expected = sample(50_000, 2)
    found = transport.apply(score, variables)
    assert np.abs(found - expected).mean() < 0.15
    assert np.corrcoef(found, expected)[0, 1] > 0.99


def test_unit_exponential_in_every_slice(transport):
    score, variables, _ = sample(100_000, 3)
    found = transport.apply(score, variables)
    for low in (0, 1, 2, 3):
        inside = found[(variables[:, 0] >= low) & (variables[:, 0] < low + 1)]
        assert stats.kstest(inside, "expon").statistic < 0.02
        # Beyond the leaves' last quantile, 1 in 80, by extrapolation.
        assert (inside > 7).mean() == pytest.approx(np.exp(-7), rel=0.5)


def test_information_is_removed(transport):
    score, variables, _ = sample(100_000, 4)
    before = mutual_information(score, variables[:, 0])
    after = mutual_information(transport.apply(score, variables), variables[:, 0])
    assert before > 0.07
    assert after < before / 20


def test_order_within_alike_events_is_kept(transport):
    score = np.sort(sample(1000, 5)[0])
    alike = np.tile([[2.0, 0.0]], (1000, 1))
    assert (np.diff(transport.apply(score, alike)) >= 0).all()


def test_written_and_read(transport, tmp_path):
    write_transport(tmp_path / "t.npz", transport)
    score, variables, _ = sample(1000, 6)
    again = read_transport(tmp_path / "t.npz")
    assert again.names == NAMES
    assert np.array_equal(again.apply(score, variables), transport.apply(score, variables))


def test_damaged_file_and_few_events(tmp_path):
    (tmp_path / "t.npz").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"t\.npz: cannot be read"):
        read_transport(tmp_path / "t.npz")
    with pytest.raises(UserError, match="too few"):
        fit_transport(np.arange(10.0), np.zeros((10, 2)), NAMES)
    with pytest.raises(UserError, match="did you mean 'met_gev'"):
        fit_transport(np.arange(10.0), np.zeros((10, 1)), ("met",))


def test_trees_are_those_of_scikit_learn():
    """Leaves from NumPy alone are those that the fitted tree itself gives."""
    from sklearn.tree import DecisionTreeRegressor

    from axo.decorrelators import transport as module

    score, variables, _ = sample(20_000, 8)
    variables = np.round(variables, 1).astype(np.float32).astype(np.float64)
    tree = DecisionTreeRegressor(min_samples_leaf=500, random_state=0).fit(variables, score)
    grown = module._with_leaves(tree.tree_, score, variables, module._levels(500))
    assert np.array_equal(grown.leaf(variables), tree.apply(variables))
