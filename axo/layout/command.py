"""Show what triggers see: the layouts that ship with axo, or check and describe one.

  axo layouts
  axo layouts cms_gt
  axo layouts my_trigger.yaml --words

A layout (YAML) says which kinds of objects an event has, how many, and of each quantity its bits, place
in the packed object, step and unit; docs/layouts.md says how to write one. A file with a fault is
refused in one line that names the key.
"""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from axo.layout import Kind, Layout, Quantity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``axo layouts``."""
    parser.add_argument(
        "layout", nargs="?", help="name of a layout, or path of a YAML file (default: list all)"
    )
    parser.add_argument("--words", action="store_true", help="print every word with its column")


def run(args: argparse.Namespace) -> int:
    """Run ``axo layouts``."""
    from axo.errors import UserError
    from axo.layout import find_layout, layout_names

    if args.layout is None:
        if args.words:
            raise UserError("--words is for one layout: give its name or path")
        for name in layout_names():
            print(_summary(find_layout(name)))
        return 0
    layout = find_layout(args.layout)
    print(f"{_summary(layout)}\nsha256 {layout.digest}")
    print(textwrap.fill(layout.source, 100, initial_indent="  ", subsequent_indent="  "))
    for kind in layout.kinds:
        _print_kind(layout, kind)
    if args.words:
        for column, word in enumerate(layout.words):
            print(f"{column:5} {word.name:24} {_bits(word.width, word.signed)}")
    return 0


def _summary(layout: Layout) -> str:
    kinds = ", ".join(f"{kind.count} {kind.name}" for kind in layout.kinds)
    return f"{layout.name}: {len(layout.words)} words ({layout.dtype.__name__}): {kinds}"


def _print_kind(layout: Layout, kind: Kind) -> None:
    columns = layout.columns(kind.name)
    first, last = kind.object_name(0), kind.object_name(kind.count - 1)
    names = first if kind.count == 1 else f"{first} to {last}"
    shape = "" if kind.shape is None else f", {' x '.join(map(str, kind.shape))}"
    print(
        f"{names} (columns {columns[0]} to {columns[-1]}{shape}): present {kind.present}, "
        f"order {kind.order}, {_carrier(kind)}"
    )
    for quantity in kind.quantities:
        print("  " + _quantity_line(kind, quantity))


def _carrier(kind: Kind) -> str:
    if not kind.bits:
        return "one port a word"
    whole = f"{kind.bits} bits each, port {kind.port_name} of {kind.port_bits} bits"
    if kind.links is None:
        return whole
    n_links = kind.port_bits // kind.links.bits
    return (
        f"{whole}: {n_links} links of {kind.links.bits} bits, {kind.links.objects} objects on each from bit "
        f"{kind.links.first}"
    )


def _quantity_line(kind: Kind, quantity: Quantity) -> str:
    if not quantity.bits:
        place = "not in hardware: always 0"
    elif not kind.bits:
        place = ""
    elif not quantity.packed:
        place = "not in the packed object"
    else:
        last = quantity.last_bit
        place = f"bit {last}" if quantity.bits == 1 else f"bits {quantity.lsb} to {last}"
    origin = f" from {quantity.origin:g}" if quantity.origin else ""
    period = f", period {quantity.period}" if quantity.period else ""
    unit = f"{quantity.step} {quantity.unit}".rstrip()
    return (
        f"{quantity.name:17} {quantity.role:16} {_bits(quantity.bits, quantity.signed):16} "
        f"{place:25} step {unit}{origin}{period}"
    )


def _bits(width: int, signed: bool) -> str:
    return f"{width:2} {'bit' if width == 1 else 'bits'}{', signed' if signed else ''}"
