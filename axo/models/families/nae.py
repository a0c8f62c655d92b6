"""The normalised autoencoder: encoder and decoder run in firmware, score = squared reconstruction error.

The pt words of all objects are first brought, by sums of hinges, to the scale of their *surprise*
sqrt(-2 ln P(pt' >= pt)) in zero bias (axo.models.surprise), times a scale per kind of object: on that
scale a step counts for how rare it makes an object. These features are what is reconstructed; eta
and phi are not read. The autoencoder is trained as a density of the features (axo.models.energy).
The error of each object is the network's embedding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.errors import UserError
from axo.interchange.keras import squared_length_network
from axo.layout import Layout
from axo.models import layers
from axo.models.backend import import_keras, import_tensorflow
from axo.models.energy import EnergyModel, Normalisation
from axo.models.family import Arrays, Metrics, Penalty
from axo.models.fitting import PrunedAdam, quantised_dense, require_damping
from axo.models.objects import Objects
from axo.models.pruning import Pruning
from axo.models.scaling import Scaling
from axo.models.surprise import surprise_table, tail_frequency
from axo.network import FixedType, Network

tf, keras = import_tensorflow(), import_keras()

SLOPE_BITS, SLOPE_INTEGER = 11, 7


@dataclass(frozen=True)
class Features:
    """The scale of the features: `unit` for a surprise of 1, times `scale`.

    A feature is the sum of `hinges` hinges; the first lies where the object is absent, the second
    at the softest object, the others at equal steps of surprise from there. Type ap_ufixed<bits, integer>.
    """

    scale: dict[str, float] = field(default_factory=lambda: {"MET": 1.0, "EG": 1.0, "MU": 1.0, "JET": 0.25})
    unit: float = 10.0
    hinges: int = 3
    bits: int = 7
    integer: int = 6

    def __post_init__(self) -> None:
        if min(*self.scale.values(), self.unit) <= 0 or self.hinges < 2:
            raise UserError("scale and unit must be positive, and hinges at least 2")

    @property
    def type(self) -> FixedType:
        """Type of a feature."""
        return FixedType(self.bits, self.integer, False, "TRN", "SAT")

    def scales(self, objects: Objects) -> NDArray[np.float64]:
        """Units per surprise of each object."""
        return self.unit * objects.per_object(self.scale, "features: scale")


@dataclass(frozen=True)
class NaeConfig:
    """Sizes and types. Bits and integer bits are those of ap_fixed (the sign included), of all layers.

    `hidden` are the encoder's hidden layers, in reverse the decoder's. Hidden activations are
    unsigned, the latent variables signed. The encoder sees each feature saturated at 2**seen_integer,
    the decoder answers at most 2**decoded_integer: what an object has beyond cannot be reconstructed,
    and raises the energy by its square, also where no chain has been. `spectral_norm` bounds the
    largest singular value of every kernel (null: free). Events are drawn with a frequency of P**-tail,
    where P is the fraction of zero bias in which the event's rarest object is present and as hard.
    `gradient_norm` bounds the norm of the gradient of all weights; `damping`: see `PrunedAdam`.
    """

    hidden: tuple[int, ...] = (10,)
    latent: int = 3
    weight_bits: int = 6
    weight_integer: int = 2
    bias_bits: int = 8
    bias_integer: int = 7
    activation_bits: int = 7
    activation_integer: int = 6
    seen_bits: int = 5
    seen_integer: int = 5
    decoded_bits: int = 4
    decoded_integer: int = 3
    latent_bits: int = 7
    latent_integer: int = 7
    features: Features = field(default_factory=Features)
    normalisation: Normalisation = field(default_factory=Normalisation)
    tail: float = 0.0
    pruning: Pruning = field(default_factory=lambda: Pruning((0.0, 0.0, 0.0, 0.0)))
    spectral_norm: float | None = None
    gradient_norm: float = 10.0
    learning_rate: float = 0.003
    damping: float = 0.0

    def __post_init__(self) -> None:
        if min(*self.hidden, self.latent) < 1 or min(self.learning_rate, self.gradient_norm) <= 0:
            raise UserError("layer sizes, learning_rate and gradient_norm must be positive")
        require_damping(self.damping)
        if self.spectral_norm is not None and self.spectral_norm <= 0:
            raise UserError("spectral_norm must be positive or null")
        if not 0 <= self.tail < 1:
            raise UserError("tail must be at least 0 and below 1")
        if len(self.pruning.sparsity) != 2 * len(self.hidden) + 2:
            raise UserError(f"pruning: {2 * len(self.hidden) + 2} sparsities are needed, one a layer")


class Nae:
    """The family's model: see axo.models.family.Family. `encoder` is the whole network to the errors."""

    Config = NaeConfig

    @staticmethod
    def check(config: NaeConfig, layout: Layout) -> None:
        Objects(layout).require_kinds(config.features.scale, "features: scale")

    def __init__(self, config: NaeConfig, scaling: Scaling, seed: int, words: NDArray[np.int16]) -> None:
        keras.utils.set_random_seed(seed)
        self.config, self.scaling, self.seed = config, scaling, seed
        self.check(config, scaling.layout)
        self.objects = objects = Objects(scaling.layout)
        self.surprise = surprise_table(words, objects)
        knots, slopes = _fit_hinges(config.features, scaling, objects, self.surprise)
        encode, decode = _autoencoder(config, objects.count)
        self.encoder = _whole(config, len(scaling.offset), objects.count, encode, decode)
        _set_hinges(self.encoder, objects, knots, slopes)
        self._features = keras.Model(self.encoder.inputs, self.encoder.get_layer("features").output)
        features = self._prepared(words[: 1 << 18])
        self.encoder.get_layer(decode[-2].name).bias.assign(features.mean(axis=0) / 2)
        high = self._features(layers.as_tensor(_hardest(scaling), scaling.input_type)).numpy()[0]
        unit, reach = config.features.unit, 2.0 ** (config.latent_integer - 1) / config.features.unit
        # Energies are in units of surprise, so that temperature and steps do not depend on `unit`.
        self.density = EnergyModel(
            lambda x: _chain(encode, x * unit) / unit,
            lambda z: _chain(decode, z * unit) / unit,
            config.normalisation,
            (np.zeros(objects.count), high / unit),
            (np.full(config.latent, -reach), np.full(config.latent, reach)),
            seed,
        )
        dense = quantised_dense((*encode, *decode))
        self._kernels = [layer.kernel for layer in dense]
        self._directions = [
            tf.Variable(tf.ones((1, kernel.shape[1])), trainable=False) for kernel in self._kernels
        ]
        trainable = [variable for layer in dense for variable in layer.trainable_variables]
        self._adam = PrunedAdam(config.learning_rate, trainable, dense, config.pruning, config.damping)

    @property
    def variables(self) -> list[Any]:
        return [*self._adam.variables, *self._directions, *self.density.variables]

    def prepare(self, words: NDArray[np.int16]) -> Arrays:
        """The features (n, objects) float16: exact, for they have few bits."""
        return (self._prepared(words),)

    def frequency(self, words: NDArray[np.int16]) -> NDArray[np.float64] | None:
        if self.config.tail == 0:
            return None
        return tail_frequency(self.surprise, words, self.objects, self.config.tail)

    def train_step(self, batch: Arrays, step: Any, progress: Any, penalty: Penalty | None = None) -> Metrics:
        with tf.GradientTape() as tape:
            metrics, energy = self.density.loss(self._in_surprise(batch[0]), step, progress)
            if penalty is not None:
                metrics["penalty"] = penalty(energy)
                metrics["loss"] += metrics["penalty"]
        gradients = tape.gradient(metrics["loss"], self._adam.trainable)
        gradients, _ = tf.clip_by_global_norm(gradients, self.config.gradient_norm)
        self._adam.step(gradients, progress)
        for kernel, direction in zip(self._kernels, self._directions, strict=True):
            self._bound(kernel, direction)
        self._adam.mask()
        return metrics

    def validate(self, arrays: Arrays, order: NDArray[np.int64]) -> Metrics:
        """``loss`` is -log p of the held-out events, in nats: mean energy plus log Z."""
        chunk, total = 16384, 0.0
        for start in range(0, len(order), chunk):
            x = self._in_surprise(arrays[0][order[start : start + chunk]])
            total += float(tf.reduce_sum(self.density.energy(x)))
        log_z, effective = self.density.log_partition()
        return {
            "loss": total / len(order) + log_z,
            "energy": total / len(order),
            "log_z": log_z,
            "effective_samples": effective,
        }

    def end_epoch(self, progress: float) -> None:
        self._adam.prune(progress)

    def export(self, name: str) -> Network:
        return self.export_encoder(name, self.scaling, self.encoder)

    @staticmethod
    def export_encoder(name: str, scaling: Scaling, encoder: Any) -> Network:
        return squared_length_network(name, scaling.layout, scaling.operations(), encoder)

    def _prepared(self, words: NDArray[np.int16]) -> NDArray[np.float16]:
        features = np.empty((len(words), self.objects.count), np.float16)
        chunk = 65536
        for start in range(0, len(words), chunk):
            inputs = self.scaling.inputs(words[start : start + chunk])
            values = layers.as_tensor(inputs, self.scaling.input_type)
            features[start : start + chunk] = self._features(values).numpy()
        return features

    def _in_surprise(self, features: Any) -> Any:
        return tf.cast(features, tf.float32) / self.config.features.unit

    def _bound(self, kernel: Any, direction: Any) -> None:
        """Divide `kernel` by its largest singular value over the bound, if above 1 (Miyato 1802.05957)."""
        if self.config.spectral_norm is None:
            return
        left = tf.math.l2_normalize(direction @ tf.transpose(kernel))
        direction.assign(tf.math.l2_normalize(left @ kernel))
        largest = tf.norm(direction @ tf.transpose(kernel))
        kernel.assign(kernel / tf.maximum(1.0, largest / self.config.spectral_norm))


FAMILY = Nae


def _autoencoder(config: NaeConfig, objects: int) -> tuple[list[Any], list[Any]]:
    """The layers of encoder and decoder, features to features."""
    sizes = [*config.hidden, config.latent, *reversed(config.hidden), objects]
    chain = [_cast("seen", FixedType(config.seen_bits, config.seen_integer, False))]
    for index, size in enumerate(sizes):
        weight = config.weight_bits, config.weight_integer
        chain.append(layers.dense(f"dense{index}", size, weight, (config.bias_bits, config.bias_integer)))
        if index == len(config.hidden):
            chain.append(_cast("latent", FixedType(config.latent_bits, config.latent_integer)))
        elif index == len(sizes) - 1:
            chain.append(_cast("decoded", FixedType(config.decoded_bits, config.decoded_integer, False)))
        else:
            kind = FixedType(config.activation_bits, config.activation_integer, False)
            chain.append(_cast(f"relu{index}", kind))
    split = 2 * len(config.hidden) + 3
    return chain[:split], chain[split:]


def _whole(config: NaeConfig, words: int, objects: int, encode: list[Any], decode: list[Any]) -> Any:
    """``network_input`` -> features -> decoded - features; names are those of the network's operations."""
    count, features = objects * config.features.hinges, config.features
    inputs = x = keras.Input((words,), name="network_input")
    x = layers.dense("knots", count, (2, 2), (10, 8))(x)
    x = layers.relu("hinges", 8, 6)(x)
    x = layers.dense("slopes", objects, (SLOPE_BITS, SLOPE_INTEGER), (2, 2))(x)
    x = _cast("features", features.type)(x)
    error = keras.layers.Subtract(name="error")([_chain([*encode, *decode], x), x])
    return keras.Model(inputs, error, name="autoencoder")


def _cast(name: str, kind: FixedType) -> Any:
    """A saturating cast to `kind`, a ReLU where it is unsigned. Truncation saves an adder in every chain."""
    from hgq.config import QuantizerConfig

    sign = int(kind.signed)
    quantizer = QuantizerConfig(
        "kbi",
        "datalane",
        k0=kind.signed,
        b0=kind.width - sign,
        i0=kind.integer - sign,
        round_mode="TRN",
        overflow_mode="SAT",
        bc=None,
        ic=None,
        br=None,
        ir=None,
        heterogeneous_axis=(),
        trainable=False,
    )
    return layers.qlayers.QActivation(quantizer, name=name)


def _chain(chain: list[Any], x: Any) -> Any:
    for layer in chain:
        x = layer(x)
    return x


def _set_hinges(
    model: Any, objects: Objects, knots: NDArray[np.float64], slopes: NDArray[np.float64]
) -> None:
    """Fix the feature layers: hinge h of object i is relu(input - knots[i, h]), times slopes[i, h]."""
    count, hinges = knots.shape
    select = np.zeros((len(objects.layout.words), count * hinges))
    combine = np.zeros((count * hinges, count))
    for i in range(count):
        select[objects.columns[i], i * hinges : (i + 1) * hinges] = 1
        combine[i * hinges : (i + 1) * hinges, i] = slopes[i]
    for name, kernel, bias in (("knots", select, -knots.ravel()), ("slopes", combine, np.zeros(count))):
        layer = model.get_layer(name)
        layer.kernel.assign(kernel)
        layer.bias.assign(bias)
        layer.trainable = False


def _hardest(scaling: Scaling) -> NDArray[np.int16]:
    """Inputs (1, n_words) of the event whose every word is at its hardware maximum."""
    return scaling.inputs(scaling.layout.high[None])


def _fit_hinges(
    features: Features, scaling: Scaling, objects: Objects, table: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Knots and slopes (objects, hinges): least squares to the scaled surprise, each pt by what it adds.

    A slope is what a hinge adds to those before it: their sum, the slope of the piece up to the next knot, is
    fitted between 0 and the largest slope, so that harder is never less surprising, however rare the object.
    Beyond the hardest object of zero bias the last piece goes on; one without events is like that before.
    Raises UserError for an object whose every pt in zero bias is scaled to one value.
    """
    from scipy.optimize import lsq_linear

    scales = features.scales(objects)
    knots = np.empty((objects.count, features.hinges))
    slopes = np.empty_like(knots)
    quantum, largest = 2.0 ** (SLOPE_INTEGER - SLOPE_BITS), 2 ** (SLOPE_BITS - 1) - 1
    for i, row in enumerate(table):
        values = _pt_inputs(scaling, int(objects.columns[i]))
        # A level of surprise is that of the hardest pt that has it: softer ones do not occur. The last
        # one, beyond all of zero bias, counts from where the scaling tells it from them, up to twice as hard.
        levels, first = np.unique(row, return_index=True)
        after = values[first[-1] : 2 * first[-1] + 1]
        beyond = first[-1] + np.argmax(after > values[first[-1] - 1])
        pt = np.append(first[1:] - 1, beyond)
        wanted = np.linspace(levels[1], levels[-1], features.hinges)[:-1]
        knots[i] = values[[0, *pt[np.searchsorted(levels, wanted)]]]
        pieces = np.clip(values[pt, None] - knots[i], 0, np.diff(knots[i], append=np.inf))
        weight = np.sqrt(np.diff(levels, prepend=0))
        bounds = (0, largest * quantum)
        fitted = lsq_linear(pieces * weight[:, None], scales[i] * levels * weight, bounds, method="bvls").x
        for k in range(1, features.hinges):
            if not pieces[:, k].any():
                fitted[k] = fitted[k - 1]
        if not fitted.any():
            raise UserError(
                f"{objects.items[i].name}: the scaling of pt does not tell the few of zero bias from none; "
                "train on more events"
            )
        slopes[i] = np.diff(np.rint(fitted / quantum), prepend=0) * quantum
    return knots, slopes


def _pt_inputs(scaling: Scaling, column: int) -> NDArray[np.float64]:
    """Value of network_input of the pt word in `column`, at every value that any pt word can have."""
    layout = scaling.layout
    words = np.zeros((1 + int(layout.high[Objects(layout).columns].max()), len(layout.words)), np.int32)
    words[:, column] = np.arange(len(words))
    return scaling.inputs(words)[:, column].astype(np.float64) * 2.0**-scaling.input_type.fraction
