"""Quantised Keras layers (the ``qkeras`` API) with the bits of ap_fixed: the sign is counted."""

from __future__ import annotations

from typing import Any

from axo.models.backend import import_keras, import_qkeras, import_tensorflow
from axo.network import FixedType

tf, keras, qlayers = import_tensorflow(), import_keras(), import_qkeras()


def dense(
    name: str, size: int, weight: tuple[int, int], bias: tuple[int, int], *, trainable_bits: bool = False
) -> Any:
    """A dense layer; `weight` and `bias` are (bits, integer bits) of signed types.

    With `trainable_bits` every weight has its own, that start there (see axo.models.resources).
    """
    kernel = _trainable(*weight) if trainable_bits else _signed(*weight)
    return qlayers.QDense(size, name=name, kernel_quantizer=kernel, bias_quantizer=_signed(*bias))


def relu(name: str, bits: int, integer: int, *, trainable_bits: bool = False) -> Any:
    """ReLU to an unsigned type; with `trainable_bits` its bits start there."""
    from qkeras.quantizers import quantized_relu

    if trainable_bits:
        return qlayers.QActivation(_trainable_relu(bits, integer), name=name)
    return qlayers.QActivation(quantized_relu(bits, integer), name=name)


def linear(name: str, bits: int, integer: int) -> Any:
    """A cast to a signed type."""
    return qlayers.QActivation(_signed(bits, integer), name=name)


def encoder(config: Any, words: int, outputs: int, last: Any, *, trainable_bits: bool = False) -> Any:
    """`words` -> config.hidden -> `outputs`, then the layer `last`; names are those of the operations.

    `config` has ``hidden`` and, per layer, the bits and integer bits of weights, biases and activations.
    """
    inputs = x = keras.Input((words,), name="network_input")
    for index, size in enumerate((*config.hidden, outputs)):
        weight = config.weight_bits[index], config.weight_integer[index]
        bias = config.bias_bits[index], config.bias_integer[index]
        x = dense(f"dense{index}", size, weight, bias, trainable_bits=trainable_bits)(x)
        if index < len(config.hidden):
            bits, integer = config.activation_bits[index], config.activation_integer[index]
            x = relu(f"relu{index}", bits, integer, trainable_bits=trainable_bits)(x)
    return keras.Model(inputs, last(x), name="encoder")


def as_tensor(integers: Any, kind: FixedType) -> Any:
    """`axo.interchange.keras.as_values` for a TensorFlow tensor."""
    return tf.cast(integers, tf.float32) * 2.0**-kind.fraction


def _signed(bits: int, integer: int) -> Any:
    from qkeras.quantizers import quantized_bits

    # The qkeras API counts bits without the sign.
    return quantized_bits(bits - 1, integer - 1, alpha=1)


def _trainable(bits: int, integer: int) -> Any:
    from hgq.config import QuantizerConfig
    from hgq.constraints import MinMax

    return QuantizerConfig(
        "kbi",
        "weight",
        b0=bits - 1,
        i0=integer - 1,
        bc=MinMax(0, bits - 1),
        ic=MinMax(-bits, integer - 1),
        br=None,
        ir=None,
    )


def _trainable_relu(bits: int, integer: int) -> Any:
    from hgq.config import QuantizerConfig
    from hgq.constraints import MinMax

    return QuantizerConfig(
        "kbi",
        "datalane",
        k0=False,
        b0=bits,
        i0=integer,
        round_mode="RND_CONV",
        overflow_mode="SAT",
        bc=MinMax(1, bits),
        ic=MinMax(integer - bits, integer),
        br=None,
        ir=None,
        homogeneous_axis=None,
        heterogeneous_axis=(),
    )
