"""The input ports of the trigger top, from a network's layout, and where every word lies in them.

Packed objects of one kind share a port, object after object; those that come on links have a port a
link, as a link's receiver has one; a word that is in no packed object has a port of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from axo.errors import UserError
from axo.layout import Kind, Layout


@dataclass(frozen=True)
class Port:
    """An input of the trigger top, `width` bits."""

    name: str
    width: int


@dataclass(frozen=True)
class RtlWord:
    """Where a word lies in the core's `words` port, and in an input port (if there is a trigger top).

    `word` is its column in the event; `port`, `port_offset` place it in the trigger's port. `pt_word` is
    the column of the pt that says whether its object is there (None: it always is), `present` the
    signal that says so to this word (None: it passes as it is). A word of width 0 is on no wire.
    """

    word: int
    name: str
    width: int
    signed: bool
    offset: int
    port: str | None = None
    port_offset: int | None = None
    pt_word: int | None = None
    present: str | None = None


def place_words(layout: Layout, trigger: bool) -> tuple[tuple[RtlWord, ...], tuple[Port, ...]]:
    """Every word of `layout` in its place, and the ports of the trigger top (none without `trigger`).

    Raises UserError for a presence that the wrapper does not tell (that by a signed pt).
    """
    names = _names(layout)
    ports, places = _ports(layout, names) if trigger else ([], {})
    presence = layout.presence_columns.tolist()
    words, offset = [], 0
    for column, word in enumerate(layout.words):
        place: dict[str, Any] = {}
        if column in places:
            place["port"], place["port_offset"] = places[column]
            if presence[column] >= 0:
                place["pt_word"] = presence[column]
            if presence[column] not in (-1, column):
                place["present"] = names["present", int(layout.object_of_word[column])]
        words.append(RtlWord(column, word.name, word.width, word.signed, offset, **place))
        offset += word.width
    return tuple(words), tuple(ports)


def _ports(layout: Layout, names: _Names) -> tuple[list[Port], dict[int, tuple[str, int]]]:
    """The ports in the order of the layout; by column of a word its port and first bit there."""
    ports, places = [], {}
    for kind in layout.kinds:
        if kind.present == "pt" and kind.quantity("pt").signed:
            raise UserError(
                f"layout {layout.name!r}: kind {kind.name!r}: is there when its pt is above 0, which the "
                "wrapper does not tell of a signed pt; write the core alone (trigger: false)"
            )
        packed = _packed_ports(kind)
        ports += [Port(names["packed", key], bits) for key, bits in packed]
        for item in (item for item in layout.objects if item.kind.name == kind.name):
            for column, quantity in zip(item.columns.values(), kind.quantities, strict=True):
                if not quantity.bits:
                    continue
                if quantity.lsb is None:
                    name = names["word", column]
                    ports.append(Port(name, quantity.bits))
                    places[column] = (name, 0)
                else:
                    number, first = divmod(item.first_bit, packed[0][1])
                    places[column] = (names["packed", packed[number][0]], first + quantity.lsb)
    return ports, places


def _packed_ports(kind: Kind) -> list[tuple[str, int]]:
    """Key and width of the ports that carry a kind's packed objects."""
    if not kind.bits:
        return []
    if kind.links is None:
        return [(kind.port_name, kind.port_bits)]
    bits = kind.links.bits
    return [(f"{kind.port_name}_{number}", bits) for number in range(kind.port_bits // bits)]


_Names = dict[tuple[str, str | int], str]
"""Names by what they are of: ("packed", key of the port), ("word", column), ("present", object)."""

# The tops' own names, and words that Verilog or VHDL keeps for itself.
_TAKEN = frozenset(
    re.findall(
        r"\w+",
        """
        clk rst valid_in valid_out valid_next words score score_next trigger threshold threshold_write
        threshold_index threshold_value threshold_registers core_i seed i rtl work std_logic std_logic_vector
        abs after alias all always and array assert assign attribute begin bit block body boolean buf buffer
        bus case character component configuration constant default disable disconnect downto edge else
        elsif end entity event exit file for force fork function generate generic genvar group guarded if
        impure in inertial initial inout input integer is join label large library linkage literal loop map
        medium mod module nand negedge new next nor not null of on open or others out output package
        parameter port posedge postponed primary procedure process pure range real record reg register
        reject release rem repeat report return rol ror select severity shared signal signed sla sll
        small specify sra srl strong string subtype supply table task tagged then time to transport tri
        type unaffected unique units unsigned until use variable vector wait wand weak when while wire with
        wor xnor xor""",
    )
)


def _names(layout: Layout) -> _Names:
    """Names of ports and presence signals: lower case (VHDL sees none), all different."""
    wanted: _Names = {("packed", key): key for kind in layout.kinds for key, _ in _packed_ports(kind)}
    for column, quantity in enumerate(layout.quantities):
        if quantity.lsb is None:
            wanted["word", column] = layout.words[column].name
    for number, item in enumerate(layout.objects):
        wanted["present", number] = f"{item.kind.port_name}{item.index}_present"
    names: _Names = {}
    for number, (key, text) in enumerate(wanted.items()):
        name = re.sub("_+", "_", text.lower()).strip("_")
        while name in _TAKEN or name in names.values():
            name = f"{name}_p{number}"
        names[key] = name
    return names


def describe_ports(layout: Layout, ports: Sequence[Port]) -> Iterator[str]:
    """Lines that say what lies where in the `ports`, for the head of the top."""
    names = _names(layout)
    packed = {kind: [names["packed", key] for key, _ in _packed_ports(kind)] for kind in layout.kinds}
    in_objects = {name for of_kind in packed.values() for name in of_kind}
    alone = [port for port in ports if port.name not in in_objects]
    heading = "Objects, object 0 in the lowest bits of its port" if in_objects else "Words, a port each"
    if in_objects and alone:
        heading += "; other words a port each"
    remarks = _remarks(layout)
    yield heading + (f" ({', '.join(remarks)}):" if remarks else ":")
    for kind, of_kind in packed.items():
        if of_kind:
            yield f"  {_packed_text(kind, of_kind)}"
    for port in alone:
        yield f"  {port.name}: {port.width} bit{'s' if port.width > 1 else ''}"
    yield ("Other bits are ignored. " if in_objects else "") + _presence_text(layout)


def _packed_text(kind: Kind, ports: list[str]) -> str:
    fields = sorted(
        (quantity.lsb, f"{quantity.name or 'value'} {quantity.lsb}-{quantity.last_bit}")
        for quantity in kind.quantities
        if quantity.lsb is not None and quantity.bits
    )
    listed = ", ".join(text for _, text in fields)
    if kind.links is None:
        return f"{ports[0]}: {kind.count} x {kind.bits} bits: {listed}"
    return (
        f"{ports[0]} to {ports[-1]}: {kind.links.bits} bits a link, {kind.links.objects} x {kind.bits} bits "
        f"from bit {kind.first_bit(0)} on: {listed}"
    )


def _remarks(layout: Layout) -> list[str]:
    quantities = [quantity for quantity in layout.quantities if quantity.bits]
    steps = {f"{q.step_value:g} {q.unit}".strip() for q in quantities if q.role == "pt"}
    signed = dict.fromkeys(q.name or "value" for q in quantities if q.signed)
    remarks = [f"pt in units of {' or '.join(sorted(steps))}"] if steps else []
    return remarks + ([f"{' and '.join(signed)} signed"] if signed else [])


def _presence_text(layout: Layout) -> str:
    absent = [kind for kind in layout.kinds if kind.present == "pt"]
    if not absent:
        return "Every object always is there."
    text = "An object of pt 0 is absent"
    others = list(
        dict.fromkeys(q.name for kind in absent for q in kind.quantities if q.bits and q.role != "pt")
    )
    if others:
        listed = " and ".join(filter(None, [", ".join(others[:-1]), others[-1]]))
        text += f", its {listed} count{'' if len(others) > 1 else 's'} as 0"
    always = [kind.name for kind in layout.kinds if kind.present == "always"]
    if always:
        text += f"; {', '.join(always)} always {'is' if len(always) == 1 else 'are'} there"
    return f"{text}."
