"""What every family keeps: exact export, one read-back, sound accumulators, a seed that decides, pruning."""

from __future__ import annotations

import numpy as np
import pytest

from axo.config import parse
from axo.errors import UserError
from axo.events.sources import read_events
from axo.interchange.keras import cost, require_exact_in_float32
from axo.layout import Word, bare_layout, find_layout
from axo.models.evaluate import compare, read_keras, write_keras
from axo.models.family import family_names, find_family
from axo.models.pruning import Pruning
from axo.network import SumOfSquares, analyse, digest, evaluate, require_sound

FAMILIES = family_names()
SPARSITY = (0.8, 0.5, 0.25, 0.6)


def make(name, words, scaling, seed=1, **options):
    family = find_family(name)
    return family(family.Config(**options), scaling, seed, words)


def train(model, words, steps, first=0):
    import tensorflow as tf

    batch = tuple(map(tf.constant, model.prepare(words)))
    step = tf.function(model.train_step)
    for i in range(first, first + steps):
        metrics = step(batch, tf.constant(i), tf.constant(i / (first + steps)))
    assert np.isfinite([float(value) for value in metrics.values()]).all()


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, words, scaling):
    """Trained for a few steps, so that no layer is all but zero."""
    model = make(request.param, words, scaling)
    train(model, words[:1024], 20)
    return model


@pytest.fixture(scope="module")
def network(model):
    return model.export("n")


@pytest.fixture(scope="module")
def keras_path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("family") / "model.keras"
    write_keras(path, model.encoder)
    return path


def test_keras_equals_the_reference(network, keras_path, words):
    from axo.firmware.stimuli import make_stimuli

    signal = read_events("sample:sig_ttbar").words
    stimuli = make_stimuli(network, 12_000, [], [words, signal], seed=5).words
    agreement = compare(keras_path, network, stimuli)
    assert (agreement.events, agreement.mismatches) == (len(stimuli), 0), agreement.first
    assert len(np.unique(evaluate(network, stimuli).score_word)) > 100


def test_read_back_model_exports_the_same(model, network, keras_path):
    assert digest(model.export_encoder("n", model.scaling, read_keras(keras_path))) == digest(network)


def test_accumulators_hold_any_word(network):
    require_sound(network)
    assert not [o for o in analyse(network, hardware_words=False).overflows if "dense" in o.operation]
    assert require_exact_in_float32(network) < 2**24


def test_the_score_is_18_bits_that_saturate(network):
    """Words beyond every range may not wrap to a low score."""
    score = network.operation(network.score)
    assert isinstance(score, SumOfSquares)
    for kind in (score.product_type, score.sum_type):
        assert (kind.width, kind.signed, kind.overflow) == (18, False, "SAT")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_seed_decides(name, words, scaling):
    """The same seed gives the same weights, before and after training; another gives others."""
    models = [make(name, words, scaling, seed) for seed in (3, 3, 4)]
    first, again, other = (digest(model.export("n")) for model in models)
    assert first == again != other
    for model in models:
        train(model, words[:256], 3)
    first, again, other = ([v.numpy() for v in model.variables] for model in models)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", FAMILIES)
def test_pruned_weights_stay_zero(name, words, scaling):
    layers = len(find_family(name).Config().pruning.sparsity)
    model = make(name, words, scaling, pruning=Pruning(SPARSITY[:layers], start=0.0, stop=0.5))
    model.end_epoch(1.0)
    train(model, words[:256], 2, first=8)
    parts = [part for part in cost(model.export("n")) if part.operation.startswith(("dense", "embed", "enc"))]
    for part, fraction in zip(parts, SPARSITY, strict=False):
        assert part.nonzero_weights <= (1 - fraction) * part.weights + 1
        assert part.csd_digits >= part.nonzero_weights > 0


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    "option", [{"learning_rate": 0.0}, {"damping": -0.1}, {"tail": 1.0}, {"hidden": (0, 3)}]
)
def test_bad_configuration(name, option):
    with pytest.raises(UserError):
        find_family(name).Config(**option)


@pytest.mark.parametrize(
    ("name", "options", "fault"),
    [
        ("vae", {"latent": 20}, "latent must be at most 19"),
        ("vae", {"loss": {"pt": {"MET": 1, "EG": 1, "MU": 1}}}, "loss: pt .* each of MET, EG, MU, JET"),
        ("fad", {"components": 20}, "components must be at most 19"),
        ("fad", {"flow": {"pt": {"jet": 1}}}, "flow: pt .* each of MET, EG, MU, JET"),
        ("nae", {"features": {"scale": {"JET": 1}}}, "features: scale .* each of MET, EG, MU, JET"),
    ],
)
def test_a_configuration_must_go_with_the_layout(name, options, fault):
    family = find_family(name)
    config = parse(family.Config, options, "model")
    with pytest.raises(UserError, match=fault):
        family.check(config, find_layout("cms_axol1tl"))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_layout_without_any_pt_is_refused(name):
    family = find_family(name)
    with pytest.raises(UserError, match="no object with a pt or an energy"):
        family.check(family.Config(), bare_layout([Word("a", 8, False)]))


def test_helpers_are_no_families():
    assert set(FAMILIES) == {"vae", "nae", "fad", "vicreg"}
    with pytest.raises(UserError, match="did you mean 'vae'"):
        find_family("vea")
