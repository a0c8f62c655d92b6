"""The fixed-point network: types, operations, reference evaluation, intervals, file format."""

from axo.layout import Word
from axo.network.convention import HALF_KEPT, WHOLE_GEV, with_pt_convention
from axo.network.files import digest, read_network, write_network
from axo.network.intervals import analyse, require_sound
from axo.network.network import Network
from axo.network.operations import (
    WORDS,
    Dense,
    Dot,
    Linear,
    Offset,
    Operation,
    Relu,
    Scale,
    Shift,
    Subtract,
    SumOfSquares,
)
from axo.network.reference import Evaluation, evaluate
from axo.network.types import FixedType

__all__ = [
    "HALF_KEPT",
    "WHOLE_GEV",
    "WORDS",
    "Dense",
    "Dot",
    "Evaluation",
    "FixedType",
    "Linear",
    "Network",
    "Offset",
    "Operation",
    "Relu",
    "Scale",
    "Shift",
    "Subtract",
    "SumOfSquares",
    "Word",
    "analyse",
    "digest",
    "evaluate",
    "read_network",
    "require_sound",
    "with_pt_convention",
    "write_network",
]
