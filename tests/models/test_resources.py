"""Trainable bit widths: fewer bits where the loss allows it, and exported exactly whatever they are."""

from __future__ import annotations

import numpy as np
import pytest

from axo.errors import UserError
from axo.events.sources import read_events
from axo.interchange.keras import cost
from axo.models.evaluate import compare, write_keras
from axo.models.family import find_family
from axo.models.resources import Resources, ResourceTerm, bit_operations
from axo.models.scaling import ScalingConfig, learn_scaling
from axo.network import Dense, Relu, require_sound


@pytest.fixture(scope="module")
def words():
    return read_events("sample:zerobias_train", limit=2000).words


@pytest.fixture(scope="module")
def scaling(words):
    return learn_scaling(words, ScalingConfig())


def trained(words, scaling, loss_limit: float, steps: int = 150):
    import tensorflow as tf

    family = find_family("vae")
    resources = (
        {"resources": Resources(loss_limit, strength=1e-3, speed=0.1, start=0.0)} if loss_limit else {}
    )
    model = family(family.Config(learning_rate=0.02, **resources), scaling, 1, words)
    batch = tuple(map(tf.constant, model.prepare(words)))
    step_once = tf.function(model.train_step)
    for step in range(steps):
        step_once(batch, tf.constant(step), tf.constant(step / steps))
    return model


@pytest.fixture(scope="module")
def cheap(words, scaling):
    """A limit that any network keeps: bits go."""
    return trained(words, scaling, 1e6)


def operations_of(model):
    return float(bit_operations(model.encoder, model.scaling.input_type.width))


def test_bit_operations_are_counted_by_hand(words, scaling):
    """At the start: 57 x 32 weights of 5 bits on 8-bit words, then 32 x 16 and 16 x 8 on 8-bit ones."""
    model = trained(words, scaling, 1e6, steps=0)
    assert operations_of(model) == 8 * 5 * (57 * 32 + 32 * 16 + 16 * 8)


def test_fewer_bits_where_the_loss_allows_it(words, scaling, cheap):
    strict = trained(words, scaling, 1e-3)
    assert operations_of(strict) > 1.3 * operations_of(cheap)
    digits = [sum(part.csd_digits for part in cost(model.export("x"))) for model in (strict, cheap)]
    assert digits[1] < digits[0]


def test_keras_equals_the_reference_whatever_the_width_of_each_weight(cheap, words, tmp_path):
    from axo.firmware.stimuli import make_stimuli

    rng = np.random.default_rng(3)
    for name in ("dense0", "dense1", "dense2"):
        layer = cheap.encoder.get_layer(name)
        layer.kq.quantizer._b.assign(rng.integers(0, 6, layer.kernel.shape))
    network = cheap.export("cheap")
    require_sound(network)
    path = tmp_path / "model.keras"
    write_keras(path, cheap.encoder)
    agreement = compare(path, network, make_stimuli(network, 12_000, [], [words], seed=5).words)
    assert agreement.mismatches == 0, agreement.first
    kernel = np.asarray(cheap.encoder.get_layer("dense0").qkernel)
    dense = next(operation for operation in network.operations if isinstance(operation, Dense))
    np.testing.assert_array_equal(kernel * 2.0**dense.weight_type.fraction, dense.weight)
    narrow = [operation.type.width for operation in network.operations if isinstance(operation, Relu)]
    assert min(narrow) < 8


@pytest.mark.parametrize(("loss", "grows"), [(0.5, True), (2.0, False)])
def test_strength_follows_the_limit(loss, grows):
    term = ResourceTerm(Resources(1.0, start=0.0))
    before = float(term(1.0, 0.5))
    for _ in range(300):
        term.follow(loss, 0.5)
    assert (float(term(1.0, 0.5)) > before) == grows


def test_nothing_before_the_start():
    term = ResourceTerm(Resources(1.0, start=0.5))
    term.follow(0.1, 0.4)
    assert float(term(1e9, 0.4)) == 0.0
    assert float(term(1.0, 0.6)) == pytest.approx(1e-7)


@pytest.mark.parametrize(
    "bad", [{"loss_limit": 0}, {"loss_limit": 1, "start": 1}, {"loss_limit": 1, "speed": -1}]
)
def test_refused(bad):
    with pytest.raises(UserError, match="must be positive"):
        Resources(**bad)
