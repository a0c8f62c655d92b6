"""Quantised Keras layers (the ``qkeras`` API) with the bits of ap_fixed: the sign is counted."""

from __future__ import annotations

from typing import Any

from axo.models.backend import import_qkeras, import_tensorflow
from axo.network import FixedType

tf, qlayers = import_tensorflow(), import_qkeras()


def dense(name: str, size: int, weight: tuple[int, int], bias: tuple[int, int]) -> Any:
    """A dense layer; `weight` and `bias` are (bits, integer bits) of signed types."""
    return qlayers.QDense(size, name=name, kernel_quantizer=_signed(*weight), bias_quantizer=_signed(*bias))


def relu(name: str, bits: int, integer: int) -> Any:
    """ReLU to an unsigned type."""
    from qkeras.quantizers import quantized_relu

    return qlayers.QActivation(quantized_relu(bits, integer), name=name)


def linear(name: str, bits: int, integer: int) -> Any:
    """A cast to a signed type."""
    return qlayers.QActivation(_signed(bits, integer), name=name)


def as_tensor(integers: Any, kind: FixedType) -> Any:
    """`axo.network.export.as_values` for a TensorFlow tensor."""
    return tf.cast(integers, tf.float32) * 2.0**-kind.fraction


def _signed(bits: int, integer: int) -> Any:
    from qkeras.quantizers import quantized_bits

    # The qkeras API counts bits without the sign.
    return quantized_bits(bits - 1, integer - 1, alpha=1)
