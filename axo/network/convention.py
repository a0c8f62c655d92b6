"""What a network makes of the half GeV of its pt words: the first operations, and how to change them.

CMS's firmware, and CMSSW since January 2026, keep the half: the pt word times 0.5 goes into
``ap_fixed<18,13>``. CMSSW's emulator before that dropped it (word // 2; CMSSW issue 49753), and test
vectors made with it show that.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from axo.errors import UserError
from axo.layout import Layout
from axo.network.operations import WORDS, Linear, Offset, Operation, Shift
from axo.network.types import FixedType, Ints

if TYPE_CHECKING:
    from axo.network.network import Network

HALF_KEPT, WHOLE_GEV = "half kept", "whole GeV"
"""What a network makes of pt words: all their bits, or whole GeV alone."""

CONVENTIONS = {"half-kept": HALF_KEPT, "whole-gev": WHOLE_GEV}
"""The conventions by their spelling in a command line."""


def described(layout: Layout, convention: str) -> str:
    """What a network reads, for reports: its words and layout, and what it makes of half a GeV."""
    words = f"{len(layout.words)} words of layout {layout.name}"
    return f"{words}, pt {convention}" if halving(layout).any() else words


def halving(layout: Layout) -> Ints:
    """Right shifts that take the pt words of 0.5 GeV a step to GeV, (n_words,): 1 there, else 0."""
    half = [quantity.role == "pt" and quantity.step_value == 0.5 for quantity in layout.quantities]
    return np.array(half, np.int64)


def pt_in_gev(layout: Layout, convention: str = HALF_KEPT) -> list[Operation]:
    """From the words to the tensor ``halved``: pt in GeV with or without its half, all others as they are.

    With the half, the words get a fraction bit first, so that the shift drops nothing.
    """
    if convention == WHOLE_GEV:
        return [Shift("halved", WORDS, halving(layout))]
    if convention != HALF_KEPT:
        raise ValueError(f"pt convention must be {HALF_KEPT!r} or {WHOLE_GEV!r}, not {convention!r}")
    bits = np.dtype(layout.dtype).itemsize * 8
    return [
        Linear("widened", WORDS, FixedType(bits + 1, bits)),
        Shift("halved", "widened", halving(layout)),
    ]


def scaled_inputs(
    layout: Layout,
    convention: str,
    unscaled_type: FixedType,
    offset: Ints,
    offset_type: FixedType,
    shift: Ints,
    input_type: FixedType,
) -> list[Operation]:
    """From the words to ``network_input``: (word - offset) >> shift, pt words of 0.5 GeV a step in GeV.

    As scaleNNInputs of the AXOL1TL emulators (cms-hls4ml/AXOL1TL) does; `offset` and `shift` are
    (n_words,) integers, the offsets in units of their type's last bit. UserError when `unscaled_type`
    has no bit for the half GeV that `convention` keeps.
    """
    has_halves = bool(halving(layout).any())
    if has_halves and convention == HALF_KEPT and unscaled_type.fraction < 1:
        raise UserError(
            f"inputs of type {unscaled_type} have no bit for the half GeV that the firmware keeps: "
            "ask for whole GeV"
        )
    first = pt_in_gev(layout, convention) if has_halves else []
    return [
        *first,
        Linear("unscaled", first[-1].name if first else WORDS, unscaled_type),
        Offset("centred", "unscaled", offset, offset_type, unscaled_type),
        Shift("scaled", "centred", shift),
        Linear("network_input", "scaled", input_type),
    ]


def convention_of(layout: Layout, operations: tuple[Operation, ...]) -> str:
    """WHOLE_GEV when `operations` first halve and floor every pt word, else HALF_KEPT."""
    readers = [operation for operation in operations if WORDS in operation.inputs]
    shift = halving(layout)
    drops = (
        len(readers) == 1
        and isinstance(readers[0], Shift)
        and shift.any()
        and np.array_equal(readers[0].shift, shift)
    )
    return WHOLE_GEV if drops else HALF_KEPT


def with_pt_convention(network: Network, convention: str) -> Network:
    """`network` with the other first operations, all else as it is; itself when it has that convention.

    Raises UserError when it does not begin in a way that can be changed: it must halve pt at once
    (and read the words nowhere else), and give the half a fraction bit in what follows.
    """
    if network.pt_convention == convention:
        return network
    old = _head(network)
    rest = network.operations[len(old) :]
    last, new = old[-1].name, pt_in_gev(network.layout, convention)
    new[-1] = dataclasses.replace(new[-1], name=last)
    taken = {operation.name for operation in rest} | {last}
    if any(operation.name in taken for operation in new[:-1]):
        raise _unchangeable(network, convention, f"a tensor is called {new[0].name!r}")
    for operation in rest if convention == HALF_KEPT else ():
        fits = isinstance(operation, Linear | Offset) and operation.type.fraction >= 1
        if last in operation.inputs and not fits:
            raise _unchangeable(
                network, convention, f"operation {operation.name!r} would drop the half again"
            )
    provenance = {**network.provenance, "pt_convention_was": network.pt_convention}
    return dataclasses.replace(network, operations=(*new, *rest), provenance=provenance)


def _head(network: Network) -> tuple[Operation, ...]:
    """The operations that bring pt to GeV, in either convention; UserError when there are none."""
    for convention in (WHOLE_GEV, HALF_KEPT):
        expected = pt_in_gev(network.layout, convention)
        head = network.operations[: len(expected)]
        read_later = {name for operation in network.operations[len(expected) :] for name in operation.inputs}
        if (
            halving(network.layout).any()
            and all(type(mine) is type(due) for mine, due in zip(head, expected, strict=False))
            and len(head) == len(expected)
            and isinstance(head[-1], Shift)
            and np.array_equal(head[-1].shift, halving(network.layout))
            and not read_later & {WORDS, *(operation.name for operation in head[:-1])}
            and [operation.input for operation in head] == [WORDS, *(o.name for o in head[:-1])]
            and (len(head) == 1 or _keeps_the_half(network, head[0]))
        ):
            return head
    raise _unchangeable(
        network,
        WHOLE_GEV if network.pt_convention == HALF_KEPT else HALF_KEPT,
        "it does not begin by halving the pt words of 0.5 GeV a step",
    )


def _keeps_the_half(network: Network, operation: Operation) -> bool:
    kind, words = network.types[operation.name], network.word_type
    return kind.signed and kind.integer >= words.integer and kind.fraction >= 1


def _unchangeable(network: Network, convention: str, reason: str) -> UserError:
    return UserError(f"network {network.name!r}: cannot be made {convention!r}: {reason}")
