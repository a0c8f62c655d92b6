"""Words <-> the bits that the hardware carries: packed objects, ports and links, of any width.

Packed bits are rows of `limbs`: unsigned 64-bit integers, the least first, so that bit b is bit
``b % 64`` of limb ``b // 64``; a packed value of up to 64 bits has one limb. A signed word is two's
complement. Which bits a word has is told by the layout: `Quantity.lsb`, `Kind.first_bit`, `Layout.ports`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from axo.errors import UserError
from axo.layout.checks import check_widths
from axo.layout.layout import Kind, Layout, Port

LIMB = 64
"""Bits of a limb."""

Limbs = NDArray[np.uint64]


def n_limbs(bits: int) -> int:
    """Limbs that hold `bits`."""
    return -(-bits // LIMB)


def pack_objects(layout: Layout, words: NDArray[Any], kind: str) -> Limbs:
    """Packed objects of a kind, (n, count, limbs of the object), from `words` (n, n_words).

    Bits that no quantity has are 0. Raises UserError for a word beyond its bits (naming event and word),
    and for a kind that is not packed.
    """
    check_widths(layout, words)
    fields, known = _object_fields(layout, kind)
    limbs = np.zeros((len(words), known.count, n_limbs(known.bits)), np.uint64)
    for columns, lsb, bits, _ in fields:
        _place(limbs, words[:, columns], lsb, bits)
    return limbs


def unpack_objects(layout: Layout, objects: ArrayLike, kind: str) -> NDArray[Any]:
    """Words of a kind, (n, count x quantities), in the layout's order and type, from packed objects.

    `objects` is (n, count, limbs) or, of up to 64 bits, (n, count), unsigned. All bits of a quantity
    are taken as they are, also where the pt word is 0 (`axo.layout.checks.clear_absent`); other bits are
    left out. UserError for a kind that is not packed, or has a quantity that is not in its bits.
    """
    fields, known = _object_fields(layout, kind)
    _require_packed((known,), layout)
    limbs = _as_limbs(objects, (known.count,), known.bits, f"packed {kind}")
    first = int(layout.columns(kind)[0])
    words = np.zeros((len(limbs), known.count * len(known.quantities)), layout.dtype)
    for columns, lsb, bits, signed in fields:
        words[:, columns - first] = _take(limbs, lsb, bits, signed)
    return words


def pack(layout: Layout, words: NDArray[Any]) -> dict[str, Limbs]:
    """Every port of `layout` by name, (n, limbs of the port), from `words` (n, n_words).

    Raises UserError for a word beyond its bits, naming event and word.
    """
    check_widths(layout, words)
    return {port.name: _pack_port(port, words) for port in layout.ports}


def unpack(layout: Layout, ports: Mapping[str, ArrayLike]) -> NDArray[Any]:
    """Words (n, n_words), in the layout's type, from every port: (n, limbs) or, up to 64 bits, (n,).

    Bits that no quantity has are left out. ValueError for a port that is missing or has another shape;
    UserError for a layout with a quantity that no port carries.
    """
    _require_packed(layout.kinds, layout)
    missing = sorted({port.name for port in layout.ports} ^ set(ports))
    if missing:
        raise ValueError(f"ports of layout {layout.name!r} do not agree: {', '.join(missing)}")
    limbs = {port.name: _as_limbs(ports[port.name], (), port.bits, port.name) for port in layout.ports}
    lengths = {len(part) for part in limbs.values()}
    if len(lengths) != 1:
        raise ValueError("ports have different numbers of events")
    words = np.zeros((lengths.pop(), len(layout.words)), layout.dtype)
    for port in layout.ports:
        for field in port.fields:
            words[:, field.column] = _take(limbs[port.name], field.lsb, field.bits, field.signed)
    return words


def pack_links(layout: Layout, words: NDArray[Any], kind: str) -> Limbs:
    """The links of a kind, (n, n_links, limbs of a link), from `words` (n, n_words).

    Raises UserError for a kind that is not on links, and for a word beyond its bits.
    """
    check_widths(layout, words)
    bits, n_links = _links(layout, kind)
    limbs = np.zeros((len(words), n_links, n_limbs(bits)), np.uint64)
    for field in _port(layout, kind).fields:
        link, lsb = divmod(field.lsb, bits)
        _place(limbs[:, link], words[:, field.column], lsb, field.bits)
    return limbs


def unpack_links(layout: Layout, links: ArrayLike, kind: str) -> NDArray[Any]:
    """Words of a kind, (n, count x quantities), from its links (n, n_links, limbs or none if one)."""
    bits, n_links = _links(layout, kind)
    _require_packed((layout.kind(kind),), layout)
    limbs = _as_limbs(links, (n_links,), bits, f"links of {kind}")
    columns = layout.columns(kind)
    words = np.zeros((len(limbs), len(columns)), layout.dtype)
    for field in _port(layout, kind).fields:
        link, lsb = divmod(field.lsb, bits)
        words[:, field.column - columns[0]] = _take(limbs[:, link], lsb, field.bits, field.signed)
    return words


def to_integers(limbs: Limbs) -> list[int]:
    """The packed values of `limbs` (n, limbs) as Python integers."""
    raw = np.ascontiguousarray(limbs, "<u8")
    return [int.from_bytes(row.tobytes(), "little") for row in raw]


def from_integers(values: Iterable[int], bits: int) -> Limbs:
    """Limbs (n, limbs) of packed `values`, integers of `bits`; ValueError for one that does not fit."""
    size = n_limbs(bits) * LIMB // 8
    rows = []
    for value in values:
        if value < 0 or value >> bits:
            raise ValueError(f"{value} does not fit in {bits} bits")
        rows.append(value.to_bytes(size, "little"))
    return np.frombuffer(b"".join(rows), "<u8").reshape(-1, n_limbs(bits)).astype(np.uint64)


def _pack_port(port: Port, words: NDArray[Any]) -> Limbs:
    limbs = np.zeros((len(words), n_limbs(port.bits)), np.uint64)
    for field in port.fields:
        _place(limbs, words[:, field.column], field.lsb, field.bits)
    return limbs


def _port(layout: Layout, kind: str) -> Port:
    return next(port for port in layout.ports if port.kind == kind)


def _links(layout: Layout, kind: str) -> tuple[int, int]:
    """Bits of a link of a kind, and how many links there are."""
    links = layout.kind(kind).links
    if links is None:
        raise UserError(f"layout {layout.name!r}: kind {kind!r} is not on links")
    return links.bits, layout.kind(kind).port_bits // links.bits


def _object_fields(layout: Layout, kind: str) -> tuple[list[tuple[NDArray[np.intp], int, int, bool]], Kind]:
    """(columns of all objects, lsb, bits, signed) of every packed quantity of a kind, and the kind."""
    known = layout.kind(kind)
    if not known.bits:
        raise UserError(f"layout {layout.name!r}: kind {kind!r} has no packed objects (bits: 0)")
    return [
        (layout.columns(kind, quantity.name), quantity.lsb or 0, quantity.bits, quantity.signed)
        for quantity in known.quantities
        if quantity.bits and quantity.packed
    ], known


def _require_packed(kinds: Sequence[Kind], layout: Layout) -> None:
    for kind in kinds:
        for quantity in kind.quantities:
            if not quantity.packed:
                raise UserError(
                    f"layout {layout.name!r}: {kind.name} {quantity.name} is not in the packed object; "
                    "unpack with the layout's packed_part()"
                )


def _as_limbs(values: ArrayLike, inner: tuple[int, ...], bits: int, what: str) -> Limbs:
    """`values` as (n, *inner, limbs) uint64."""
    array = np.asarray(values)
    if array.dtype.kind not in "ui" or (array.dtype.kind == "i" and array.size and array.min() < 0):
        raise ValueError(f"{what} must be unsigned integers, not {array.dtype}")
    if array.ndim == 1 + len(inner) and n_limbs(bits) == 1:
        array = array[..., None]
    if array.ndim < 1 or array.shape[1:] != (*inner, n_limbs(bits)):
        raise ValueError(f"{what} must be (n, {', '.join(map(str, (*inner, n_limbs(bits))))}) limbs")
    return array.astype(np.uint64, copy=False)


def _place(limbs: Limbs, values: NDArray[Any], lsb: int, bits: int) -> None:
    """Or the low `bits` of `values` (...) into `limbs` (..., limbs) from bit `lsb` on."""
    limb, shift = divmod(lsb, LIMB)
    # Negative integers become 2**64 - |w|, whose low bits are the two's complement.
    raw = values.astype(np.int64).astype(np.uint64) & np.uint64((1 << bits) - 1)
    limbs[..., limb] |= raw << np.uint64(shift)
    if shift + bits > LIMB:
        limbs[..., limb + 1] |= raw >> np.uint64(LIMB - shift)


def _take(limbs: Limbs, lsb: int, bits: int, signed: bool) -> NDArray[np.int64]:
    """The `bits` from bit `lsb` on of `limbs` (..., limbs), as int64 (...)."""
    limb, shift = divmod(lsb, LIMB)
    raw = limbs[..., limb] >> np.uint64(shift)
    if shift + bits > LIMB:
        raw = raw | (limbs[..., limb + 1] << np.uint64(LIMB - shift))
    values = (raw & np.uint64((1 << bits) - 1)).astype(np.int64)
    return values - ((values >> (bits - 1)) << bits) if signed else values
