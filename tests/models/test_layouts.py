"""Families on other layouts: more objects than CMS's 57 words, ATLAS's words, a calorimeter image."""

from __future__ import annotations

import numpy as np
import pytest

from axo.config import parse
from axo.layout import find_layout
from axo.models.evaluate import compare, write_keras
from axo.models.family import find_family
from axo.models.objects import Objects
from axo.models.scaling import ScalingConfig, learn_scaling
from axo.network import evaluate
from axo.network.convention import CONVENTIONS


def wide():
    """117 words: 12 e/gamma, 12 taus, 10 jets, 4 muons and MET, as published studies read them."""
    angles = ("pt", "eta", "phi")
    parts = [
        ("MET", 1, None),
        ("EG", 12, angles),
        ("TAU", 12, angles),
        ("JET", 10, angles),
        ("MU", 4, angles),
    ]
    return find_layout("cms_gt").select(parts, "wide")


def phase2():
    """Words of 16 bits and more, signed angles."""
    angles = ("pt", "eta", "phi")
    parts = [("MET", 1, ("pt", "phi")), ("JET", 8, angles), ("MU", 6, angles)]
    return find_layout("cms_phase2_gt").select(parts, "phase2")


LAYOUTS = {
    "wide": wide,
    "gelato": lambda: find_layout("atlas_gelato"),
    "phase2": phase2,
    "image": lambda: find_layout("cicada"),
}
WEIGHTS = {"vae": ("loss", "pt"), "fad": ("flow", "pt"), "nae": ("features", "scale")}


def zero_bias(layout, n=3000, seed=1):
    """Events with falling pt, most objects absent, angles anywhere within their bits."""
    rng = np.random.default_rng(seed)
    words = rng.integers(layout.low, layout.high + 1, (n, len(layout.words)))
    for quantity, column in zip(layout.quantities, range(len(layout.words)), strict=True):
        if quantity.period is not None and not quantity.signed:
            words[:, column] %= quantity.period
    for kind in layout.kinds:
        columns = layout.columns(kind.name, kind.magnitude.role) if kind.magnitude else []
        if len(columns):
            pt = rng.exponential(20, (n, len(columns)))
            if kind.order == "pt":
                pt = np.sort(pt, axis=1)[:, ::-1]
            words[:, columns] = np.minimum(pt, layout.high[columns])
    absent = ~layout.present(words)[:, layout.object_of_word]
    words[absent] = 0
    return words.astype(layout.dtype)


def config_of(family, layout):
    section = {}
    if family in WEIGHTS:
        outer, inner = WEIGHTS[family]
        section = {outer: {inner: dict.fromkeys(Objects(layout).kinds, 0.5)}}
    return parse(find_family(family).Config, section, "model")


@pytest.mark.parametrize("family", ["vae", "fad", "nae", "vicreg"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_family_learns_from_any_layout_and_is_exact(name, family, tmp_path):
    import tensorflow as tf

    from axo.firmware.stimuli import make_stimuli

    layout = LAYOUTS[name]()
    if (name, family) == ("phase2", "vicreg"):
        pytest.skip("views need unsigned phi words")
    words = zero_bias(layout)
    scaling = learn_scaling(words, ScalingConfig(min_present=100), layout)
    config = config_of(family, layout)
    find_family(family).check(config, layout)
    model = find_family(family)(config, scaling, 1, words)
    batch = tuple(map(tf.constant, model.prepare(words[:256])))
    for step in range(3):
        metrics = model.train_step(batch, tf.constant(step), tf.constant(0.5))
    assert np.isfinite([float(value) for value in metrics.values()]).all()
    network = model.export("other")
    assert network.layout == layout
    write_keras(tmp_path / "model.keras", model.encoder)
    stimuli = make_stimuli(network, 3000, [], [words], seed=2).words
    agreement = compare(tmp_path / "model.keras", network, stimuli)
    assert (agreement.events, agreement.mismatches) == (len(stimuli), 0), agreement.first
    assert len(np.unique(evaluate(network, words).score_word)) > 20


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_convention_of_pt_is_the_networks(convention, words):
    """With the half kept, an odd pt word is another input than the even one below; else the same."""
    scaling = learn_scaling(words, ScalingConfig(pt_convention=convention, pt_half_range=16.0))
    even = np.zeros((1, len(scaling.layout.words)), np.int16)
    even[0, scaling.layout.columns("JET", "pt")[0]] = 80
    odd = even.copy()
    odd[odd > 0] += 1
    differs = not np.array_equal(scaling.inputs(even), scaling.inputs(odd))
    assert differs == (convention == "half-kept")
    assert scaling.pt_convention == CONVENTIONS[convention]
