"""The variational autoencoder: what its loss sees, and that its encoder is exported exactly."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from axo.errors import UserError
from axo.events.sources import read_events
from axo.interchange.keras import csd_digits, require_exact_in_float32
from axo.models.evaluate import compare, evaluate_keras, read_keras, write_keras
from axo.models.family import find_family
from axo.network import Dense, evaluate


def make(words, scaling, seed=1, **options):
    family = find_family("vae")
    return family(family.Config(**options), scaling, seed, words)


@pytest.fixture(scope="module")
def model(words, scaling):
    """Trained for a few steps, so that no layer is all but zero."""
    import tensorflow as tf

    model = make(words, scaling)
    batch = tuple(map(tf.constant, model.prepare(words)))
    for step in range(20):
        model.train_step(batch, step, 0.5)
    return model


@pytest.fixture(scope="module")
def keras_path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("vae") / "model.keras"
    write_keras(path, model.encoder)
    return path


def kinds_of_words(network, words):
    from axo.firmware.stimuli import make_stimuli

    signal = read_events("sample:sig_ttbar").words
    return make_stimuli(network, 12_000, [], [words, signal], seed=5).words


def test_keras_equals_the_reference(model, keras_path, words):
    network = model.export("v")
    stimuli = kinds_of_words(network, words)
    agreement = compare(keras_path, network, stimuli)
    assert (agreement.events, agreement.mismatches) == (len(stimuli), 0), agreement.first
    score, embedding = evaluate_keras(keras_path, network, stimuli[:100], batch=7)
    assert score.dtype == embedding.dtype == np.int32
    assert embedding.shape == (100, 8)
    assert len(np.unique(evaluate(network, stimuli).score_word)) > 100


def test_a_changed_weight_is_noticed(model, keras_path, words):
    network = model.export("v")
    index, dense = next((i, o) for i, o in enumerate(network.operations) if isinstance(o, Dense))
    weight = dense.weight.copy()
    weight[0, 0] += 1 if weight[0, 0] < dense.weight_type.max_int else -1
    operations = list(network.operations)
    operations[index] = dataclasses.replace(dense, weight=weight)
    agreement = compare(keras_path, dataclasses.replace(network, operations=tuple(operations)), words)
    assert agreement.mismatches > 0
    assert agreement.first.startswith("event ")


def test_float32_limit_is_enforced(model):
    network = model.export("v")
    wide = []
    for operation in network.operations:
        if isinstance(operation, Dense):
            kind = dataclasses.replace(operation.weight_type, width=30, integer=27)
            accum = dataclasses.replace(operation.accum_type, width=60, integer=40)
            operation = dataclasses.replace(
                operation, weight=operation.weight << 17, weight_type=kind, accum_type=accum
            )
        wide.append(operation)
    with pytest.raises(UserError, match=r"2\*\*24"):
        require_exact_in_float32(dataclasses.replace(network, operations=tuple(wide)))


def loss_of(model, words):
    return model.validate(model.prepare(words), np.arange(len(words)))["reconstruction"]


def test_absent_objects_are_ignored(words, scaling):
    """Without any present object there is nothing to reconstruct; each present one adds."""
    model = make(words, scaling)
    nothing = np.zeros((50, 57), np.int16)
    assert loss_of(model, nothing) == 0
    one = nothing.copy()
    one[:, 27:30] = 80, 10, 5
    assert loss_of(model, one) > 0


def test_phi_is_an_angle(words, scaling):
    """phi words 0 and 144 are the same direction for a calorimeter object: the targets agree."""
    model = make(words, scaling)
    at = np.zeros((2, 57), np.int16)
    at[:, 27:30] = (80, 10, 0), (80, 10, 144)
    targets = model.prepare(at)[1].astype(float)
    np.testing.assert_allclose(targets[0], targets[1], atol=1e-3)
    at[1, 29] = 72
    opposite = model.prepare(at)[1].astype(float)
    assert abs(opposite[0] - opposite[1])[38:57].max() == pytest.approx(2, abs=1e-3)


def test_csd_digits():
    """0, 1, 2, 3 = 4 - 1, 5, 7 = 8 - 1, 11 = 8 + 4 - 1, 21, -32, 23 = 24 - 1."""
    values = [0, 1, 2, 3, 5, 7, 11, 21, -32, 23]
    np.testing.assert_array_equal(csd_digits(values), [0, 1, 1, 2, 2, 2, 3, 3, 1, 3])


def test_layers_that_cannot_be_exported(scaling):
    from axo.models.backend import import_keras

    keras = import_keras()
    inputs = keras.Input((57,))
    float_model = keras.Model(inputs, keras.layers.Dense(8)(inputs))
    with pytest.raises(UserError, match="has no fixed-point operation"):
        find_family("vae").export_encoder("v", scaling, float_model)


def test_damaged_keras_file(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"no model")
    with pytest.raises(UserError, match="cannot be read as a Keras model"):
        read_keras(path)


@pytest.mark.parametrize(
    "options", [{"latent": 0}, {"latent_scale": 0.0}, {"learning_rate": 0.0}, {"hidden": (0, 3)}]
)
def test_bad_configuration(options):
    with pytest.raises(UserError):
        find_family("vae").Config(**options)
