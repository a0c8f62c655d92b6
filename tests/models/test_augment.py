"""Views of an event: what changes, what must not, and that the scaling is the network's own."""

from __future__ import annotations

import numpy as np
import pytest

from axo.errors import UserError
from axo.events.sources import read_events
from axo.models.augment import Augmentations, Augmenter
from axo.models.scaling import ScalingConfig, learn_scaling
from tests.cms_words import CMS_WORDS, to_physical

SEED = (3, 4)


@pytest.fixture(scope="module")
def words():
    return read_events("sample:zerobias_train", limit=2000).words


@pytest.fixture(scope="module")
def scaling(words):
    return learn_scaling(words, ScalingConfig())


def view(words, scaling, **options):
    import tensorflow as tf

    still = {"rotate": False, "pt_resolution": 0.0, "angle_resolution": 0.0, "masked": 0.0}
    augmenter = Augmenter(Augmentations(**(still | options)), scaling)
    return augmenter.words(tf.constant(words), tf.constant(SEED)).numpy()


def test_inputs_are_those_of_the_network(words, scaling):
    """As integers, on recorded-like and on random words of every hardware width."""
    rng = np.random.default_rng(1)
    low, high = ([getattr(word, end) for word in CMS_WORDS] for end in ("min_int", "max_int"))
    words = np.vstack([words, rng.integers(low, high, (5000, 57), endpoint=True)]).astype(np.int16)
    values = Augmenter(Augmentations(), scaling).inputs(words.astype(np.float32)).numpy()
    integers = values * 2.0**scaling.input_type.fraction
    np.testing.assert_array_equal(integers, scaling.inputs(words))


def test_nothing_changes_without_augmentation(words, scaling):
    np.testing.assert_array_equal(view(words, scaling), words)


def test_rotation_keeps_the_angles_between_objects(words, scaling):
    rotated = view(words, scaling, rotate=True)
    np.testing.assert_array_equal(rotated[:, 0::3], words[:, 0::3])
    np.testing.assert_array_equal(rotated[:, 1::3], words[:, 1::3])
    pt, _, before = to_physical(words)
    _, _, after = to_physical(rotated)
    turned = np.angle(np.exp(1j * (after - before)))
    both = (pt[:, 0] > 0) & (pt[:, 9] > 0)
    difference = np.angle(np.exp(1j * (turned[both, 9] - turned[both, 0])))
    assert np.abs(difference).max() <= 2 * np.pi / 144 + 1e-9
    # Uniform turns: the mean of n unit vectors is about 1 / sqrt(n) long.
    assert abs(np.exp(1j * turned[both, 0]).mean()) < 4 / np.sqrt(both.sum())


def test_resolution_of_pt_and_angles(words, scaling):
    blurred = view(words, scaling, pt_resolution=0.2, angle_resolution=0.1)
    hard = words[:, 27] >= 60
    ratio = blurred[hard, 27] / words[hard, 27]
    # Four standard errors of a mean and of a standard deviation.
    assert abs(ratio.mean() - 1) < 4 * 0.2 / np.sqrt(hard.sum())
    assert abs(ratio.std() - 0.2) < 4 * 0.2 / np.sqrt(2 * hard.sum())
    pt, eta, _ = to_physical(words)
    moved = (to_physical(blurred)[1] - eta)[:, 9][pt[:, 9] > 0]
    expected = np.hypot(0.1, 0.0435 / np.sqrt(12))
    assert abs(moved.std() - expected) < 4 * expected / np.sqrt(2 * len(moved))
    assert not blurred[:, 1].any(), "MET has no eta"


def test_masking_removes_whole_objects_but_never_met(words, scaling):
    masked = view(words, scaling, masked=0.3).reshape(-1, 19, 3)
    before = words.reshape(-1, 19, 3)
    present = before[..., 0] > 0
    gone = present & (masked[..., 0] == 0)
    assert not masked[gone].any()
    np.testing.assert_array_equal(masked[~gone & present], before[~gone & present])
    assert not gone[:, 0].any()
    share = gone[:, 1:].sum() / present[:, 1:].sum()
    assert abs(share - 0.3) < 4 * np.sqrt(0.3 * 0.7 / present[:, 1:].sum())


def test_absent_objects_stay_absent(words, scaling):
    changed = view(words, scaling, rotate=True, pt_resolution=0.3, angle_resolution=0.3)
    absent = np.repeat(words[:, 0::3] == 0, 3, axis=1)
    assert not changed[absent].any()


@pytest.mark.parametrize("bad", [{"pt_resolution": -1}, {"masked": 1}])
def test_refused(bad):
    with pytest.raises(UserError, match="must not be negative"):
        Augmentations(**bad)
