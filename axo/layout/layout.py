"""The layout of an event: which kinds of objects it has, how many, and the words of each.

After the field and structure layouts of hardware languages (Amaranth ``lib.data``): a `Quantity` is a
field, a `Kind` an array of equal structures, a `Layout` the event. Everything else derives from it:
words and their columns, the smallest integer type, packed object words, physical units, checks.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axo.config import to_plain
from axo.errors import UserError, nearest

ROLES = (
    "pt",
    "energy",
    "eta",
    "phi",
    "isolation",
    "quality",
    "charge",
    "charge_valid",
    "pt_unconstrained",
    "eta_station",
    "phi_station",
    "impact",
    "z0",
    "multiplicity",
    "mass",
    "flag",
    "value",
)
"""What a quantity may be; a kind has each role at most once, except flag and value (anything else)."""

_REPEATED = ("flag", "value")

MAX_WORD_BITS = 31
"""Words are held as int16 or int32, so an unsigned word has at most this many bits."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_PI_STEP = re.compile(r"(?:([0-9.]+)\s*\*\s*)?pi(?:\s*/\s*([0-9.]+))?")


@dataclass(frozen=True)
class Word:
    """One input word as the trigger hardware carries it.

    `width` is in bits; 0 means that the word does not exist in hardware and is always zero
    (the eta of MET).
    """

    name: str
    width: int
    signed: bool

    @property
    def min_int(self) -> int:
        """Smallest value the hardware can carry."""
        return -(1 << (self.width - 1)) if self.signed and self.width else 0

    @property
    def max_int(self) -> int:
        """Largest value the hardware can carry."""
        return (1 << (self.width - int(self.signed))) - 1 if self.width else 0


@dataclass(frozen=True)
class Quantity:
    """One field of an object.

    `bits` 0: not in hardware, always zero. `lsb` is its least bit in the packed object (None: the
    object is not packed). `packed` false: a readout has it beside the packed object, so only events have
    it. A word w means ``origin + w * step`` in `unit`; `step` is a number or a text like ``2*pi/144``.
    `period` is that of an angle, in words. Raises UserError for what cannot be.
    """

    name: str
    role: str
    bits: int
    signed: bool = False
    lsb: int | None = None
    step: Any = 1
    unit: str = ""
    origin: float = 0.0
    period: int | None = None
    packed: bool = True

    def __post_init__(self) -> None:
        if self.name and not _NAME.fullmatch(self.name):
            raise UserError(f"quantity {self.name!r}: a name has letters, digits and _, a letter first")
        if self.role not in ROLES:
            raise UserError(
                f"quantity {self.name!r}: role {self.role!r} is unknown{nearest(self.role, list(ROLES))} "
                f"(known: {', '.join(ROLES)})"
            )
        if not 0 <= self.bits <= MAX_WORD_BITS + self.signed:
            raise UserError(
                f"quantity {self.name!r}: {self.bits} bits; a word has 0 to {MAX_WORD_BITS}, signed one more"
            )
        if self.lsb is not None and self.lsb < 0:
            raise UserError(f"quantity {self.name!r}: its least bit is {self.lsb}, below 0")
        if self.lsb is not None and not self.packed:
            raise UserError(f"quantity {self.name!r}: has an lsb, but packed is false")
        if not (math.isfinite(self.step_value) and self.step_value > 0):
            raise UserError(f"quantity {self.name!r}: step {self.step!r} is not a positive number")
        if not math.isfinite(self.origin):
            raise UserError(f"quantity {self.name!r}: origin {self.origin!r} is not a finite number")
        if self.period is not None and not 0 < self.period <= 1 << self.bits:
            raise UserError(f"quantity {self.name!r}: a period of {self.period} is not within its bits")

    @property
    def key(self) -> str:
        """What it is called in `Object.columns`: its role, or its name where a role may be there twice."""
        return self.name if self.role in _REPEATED else self.role

    @cached_property
    def step_value(self) -> float:
        """`step` as a number."""
        if isinstance(self.step, int | float) and not isinstance(self.step, bool):
            return float(self.step)
        match = _PI_STEP.fullmatch(self.step.replace(" ", "")) if isinstance(self.step, str) else None
        if match is None:
            raise UserError(
                f"quantity {self.name!r}: step {self.step!r} is no number and not like 2*pi/144"
                f"{_as_number(self.step)}"
            )
        try:
            return float(match[1] or 1) * math.pi / float(match[2] or 1)
        except (ValueError, ZeroDivisionError):
            raise UserError(f"quantity {self.name!r}: step {self.step!r} is not a positive number") from None

    @property
    def last_bit(self) -> int:
        """Its highest bit in the packed object; only for one that is packed."""
        assert self.lsb is not None
        return self.lsb + self.bits - 1


def _as_number(text: Any) -> str:
    """YAML 1.1 reads 1e-3 as a text: say how to write it."""
    try:
        return f"; write {float(text)!r}" if isinstance(text, str) else ""
    except ValueError:
        return ""


PRESENCES = ("always", "pt")
ORDERS = ("pt", "trigger", "place")


@dataclass(frozen=True)
class Links:
    """Links of `bits` bits, with `objects` packed objects on each, one after the other from bit `first`."""

    objects: int
    bits: int
    first: int = 0


@dataclass(frozen=True)
class Kind:
    """`count` objects of one kind, each `bits` wide when packed (0: every word has a port of its own).

    `present`: an object is there ``always``, or when its ``pt`` word is above 0 (else it is absent and
    all its words are 0). `order`: objects come in falling ``pt``, in the ``trigger``'s own order, or by
    ``place`` (object i is always the same place of the detector). `shape` is that of an image, rows
    first. `port` names the input that carries the packed objects (default: the kind's name);
    `links` says that they come on links. `numbered`: whether names of objects have their index (None:
    when there are several). Raises UserError naming what cannot be.
    """

    name: str
    count: int
    quantities: tuple[Quantity, ...]
    bits: int = 0
    present: str = "always"
    order: str = "trigger"
    shape: tuple[int, ...] | None = None
    port: str | None = None
    links: Links | None = None
    numbered: bool | None = None

    def __post_init__(self) -> None:
        self._require(bool(_NAME.fullmatch(self.name)), "a name has letters, digits and _, a letter first")
        self._require(self.count >= 1, f"count {self.count} is below 1")
        self._require(bool(self.quantities), "has no quantities")
        self._require_choice("present", self.present, PRESENCES)
        self._require_choice("order", self.order, ORDERS)
        names = [quantity.name for quantity in self.quantities]
        roles = [quantity.role for quantity in self.quantities if quantity.role not in _REPEATED]
        for what, given in (("quantity", names), ("role", roles)):
            twice = sorted({name for name in given if given.count(name) > 1})
            self._require(not twice, f"{what} {twice[0]!r} is there twice" if twice else "")
        for quantity in self.quantities:
            others = [other.role for other in self.quantities if other is not quantity]
            self._require(
                quantity.role == quantity.name or quantity.name not in others,
                f"{quantity.name!r} is the name of one quantity and the role of another",
            )
        has_pt = any(
            quantity.role == "pt" and quantity.bits and quantity.packed for quantity in self.quantities
        )
        needs_pt = self.present == "pt" or self.order == "pt"
        self._require(has_pt or not needs_pt, "its presence or order is by pt, but it has no pt")
        if self.shape is not None:
            self._require(
                math.prod(self.shape) == self.count, f"shape {list(self.shape)} is not {self.count}"
            )
        self._check_packing()

    def _check_packing(self) -> None:
        if not self.bits:
            placed = any(quantity.lsb is not None or not quantity.packed for quantity in self.quantities)
            self._require(not placed and self.links is None, "has places in packed words, but no bits")
            return
        self._require(any(quantity.packed for quantity in self.quantities), "packs none of its quantities")
        self._require(1 <= self.bits <= 1024, f"packed objects of {self.bits} bits are not 1 to 1024")
        taken: dict[int, str] = {}
        for quantity in self.quantities:
            if not quantity.bits or not quantity.packed:
                continue
            self._require(quantity.lsb is not None, f"quantity {quantity.name!r}: its lsb is missing")
            assert quantity.lsb is not None
            self._require(
                quantity.last_bit < self.bits,
                f"quantity {quantity.name!r}: bit {quantity.last_bit} is beyond the {self.bits} bits",
            )
            for bit in range(quantity.lsb, quantity.last_bit + 1):
                self._require(
                    bit not in taken,
                    f"quantities {taken.get(bit)!r} and {quantity.name!r} overlap in bit {bit}",
                )
                taken[bit] = quantity.name
        if self.links is not None:
            end = self.links.first + self.links.objects * self.bits
            self._require(
                self.links.objects >= 1 and self.links.first >= 0 and end <= self.links.bits,
                f"{self.links.objects} objects from bit {self.links.first} do not fit a link of "
                f"{self.links.bits} bits",
            )

    def _require(self, condition: bool, message: str) -> None:
        if not condition:
            raise UserError(f"kind {self.name!r}: {message}")

    def _require_choice(self, key: str, value: str, known: Sequence[str]) -> None:
        if value not in known:
            raise UserError(
                f"kind {self.name!r}: {key} {value!r} is none of {', '.join(known)}"
                f"{nearest(value, list(known))}"
            )

    def __contains__(self, role: str) -> bool:
        """Whether it has a quantity of that role, or of that name."""
        return any(role in (quantity.role, quantity.name) for quantity in self.quantities)

    def quantity(self, role: str) -> Quantity:
        """The quantity of a role, or else of a name; UserError says what there is, or that several are."""
        for key in ("role", "name"):
            found = [quantity for quantity in self.quantities if getattr(quantity, key) == role]
            if len(found) == 1:
                return found[0]
            if found:
                names = ", ".join(quantity.name for quantity in found)
                raise UserError(f"kind {self.name!r} has several of role {role}: name one of {names}")
        known = [quantity.name for quantity in self.quantities]
        raise UserError(f"kind {self.name!r} has no {role}{nearest(role, known)} (it has {', '.join(known)})")

    @property
    def magnitude(self) -> Quantity | None:
        """What says how hard an object is: its pt, else its energy; None for a kind without."""
        found = {quantity.role: quantity for quantity in self.quantities}
        return found.get("pt") or found.get("energy")

    @property
    def port_name(self) -> str:
        """Name of the port that carries its packed objects."""
        return self.port or self.name.lower()

    @property
    def port_bits(self) -> int:
        """Width of that port."""
        if self.links is None:
            return self.count * self.bits
        return -(-self.count // self.links.objects) * self.links.bits

    def first_bit(self, index: int) -> int:
        """Where object `index` begins in the port."""
        if self.links is None:
            return index * self.bits
        link, place = divmod(index, self.links.objects)
        return link * self.links.bits + self.links.first + place * self.bits

    def object_name(self, index: int) -> str:
        """Name of object `index`: that of the kind, with the index where they are numbered."""
        return f"{self.name}{index}" if self.is_numbered else self.name

    @property
    def is_numbered(self) -> bool:
        """Whether names of objects have their index."""
        return self.count > 1 if self.numbered is None else self.numbered


@dataclass(frozen=True)
class Object:
    """One object of a layout: its `kind`, `index` among those of its kind, and `columns` by role.

    Quantities without a role of their own (flag, value) are in `columns` by name.
    """

    kind: Kind
    index: int
    columns: dict[str, int]

    @property
    def name(self) -> str:
        """Like ``JET3``, or ``MET`` for the only one of its kind."""
        return self.kind.object_name(self.index)

    @property
    def first_bit(self) -> int:
        """Where it begins in its kind's port."""
        return self.kind.first_bit(self.index)


@dataclass(frozen=True)
class Field:
    """The word of `column` among the bits of a port: `bits` of them from `lsb` on."""

    column: int
    lsb: int
    bits: int
    signed: bool


@dataclass(frozen=True)
class Port:
    """One input of the hardware: its `name`, width and what lies in it.

    A packed kind has one port, objects (or links) from the least bit on; of other kinds every word has
    one, which is named like the word. `kind` is the name of the kind.
    """

    name: str
    bits: int
    kind: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Layout:
    """The kinds of objects of an event, in order; its words are object by object, quantity by quantity.

    `source` says where the facts are from. Raises UserError, naming the fault, for what cannot be.
    """

    name: str
    source: str
    kinds: tuple[Kind, ...] = field(default=())

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UserError(f"layout {self.name!r}: a name has letters, digits and _, a letter first")
        if not self.kinds:
            raise UserError(f"layout {self.name!r}: has no kinds")
        self._refuse_twice("kind", [kind.name for kind in self.kinds])
        self._refuse_twice("word", [word.name for word in self.words])
        self._refuse_twice("port", [port.name for port in self.ports])

    def _refuse_twice(self, what: str, names: list[str]) -> None:
        twice = sorted(name for name, times in Counter(names).items() if times > 1)
        if twice:
            raise UserError(f"layout {self.name!r}: {what} {twice[0]!r} is there twice")

    def __hash__(self) -> int:
        return hash((self.name, len(self.kinds)))

    @cached_property
    def objects(self) -> tuple[Object, ...]:
        """Every object, in the order of the words."""
        objects, column = [], 0
        for kind in self.kinds:
            for index in range(kind.count):
                columns = {quantity.key: column + place for place, quantity in enumerate(kind.quantities)}
                objects.append(Object(kind, index, columns))
                column += len(columns)
        return tuple(objects)

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The words of an event, in order; named like ``JET3_pt``."""
        return tuple(
            Word(
                f"{kind.object_name(index)}_{quantity.name}".removesuffix("_"), quantity.bits, quantity.signed
            )
            for kind in self.kinds
            for index in range(kind.count)
            for quantity in kind.quantities
        )

    @cached_property
    def quantities(self) -> tuple[Quantity, ...]:
        """The quantity of every word."""
        return tuple(
            quantity for kind in self.kinds for _ in range(kind.count) for quantity in kind.quantities
        )

    @cached_property
    def ports(self) -> tuple[Port, ...]:
        """The inputs that carry an event, in the order of the kinds; words of no bits are in none."""
        ports: list[Port] = []
        for kind in self.kinds:
            fields = [
                Field(column, item.first_bit + (quantity.lsb or 0), quantity.bits, quantity.signed)
                for item in self.objects
                if item.kind.name == kind.name
                for quantity, column in zip(kind.quantities, item.columns.values(), strict=True)
                if quantity.bits and quantity.packed
            ]
            if kind.bits:
                ports.append(Port(kind.port_name, kind.port_bits, kind.name, tuple(fields)))
                continue
            for one in fields:
                name = self.words[one.column].name
                ports.append(Port(name, one.bits, kind.name, (replace(one, lsb=0),)))
        return tuple(ports)

    def packed_part(self) -> Layout:
        """This layout without the quantities that are not in packed objects; itself if it has none."""
        if all(quantity.packed for kind in self.kinds for quantity in kind.quantities):
            return self
        parts = [
            (kind.name, None, [quantity.name for quantity in kind.quantities if quantity.packed])
            for kind in self.kinds
        ]
        return self.select(parts, f"{self.name}_packed")

    @property
    def dtype(self) -> type[np.int16] | type[np.int32]:
        """The smallest integer type that every word fits."""
        return np.int16 if all(word.width <= 16 - (not word.signed) for word in self.words) else np.int32

    @cached_property
    def low(self) -> NDArray[np.int64]:
        """Smallest hardware value of every word, (n_words,)."""
        return np.array([word.min_int for word in self.words], np.int64)

    @cached_property
    def high(self) -> NDArray[np.int64]:
        """Largest hardware value of every word, (n_words,)."""
        return np.array([word.max_int for word in self.words], np.int64)

    def __contains__(self, kind: str) -> bool:
        return any(kind == known.name for known in self.kinds)

    def kind(self, name: str) -> Kind:
        """The kind `name`; UserError says which there are."""
        for kind in self.kinds:
            if kind.name == name:
                return kind
        known = [kind.name for kind in self.kinds]
        raise UserError(
            f"layout {self.name!r} has no kind {name!r}{nearest(name, known)} (it has {', '.join(known)})"
        )

    def columns(self, kind: str | None = None, role: str | None = None) -> NDArray[np.intp]:
        """Columns of the words of a kind (None: all) and role or name (None: all), objects in order.

        Of a kind that has no such quantity there is none when all kinds are asked; UserError when
        `kind` is named and lacks it, or is not there.
        """
        kinds = self.kinds if kind is None else (self.kind(kind),)
        wanted = {known.name for known in kinds}
        if role is None:
            return np.array(
                [c for item in self.objects if item.kind.name in wanted for c in item.columns.values()],
                np.intp,
            )
        keys = {}
        for known in kinds:
            if kind is not None or role in known:
                keys[known.name] = known.quantity(role).key
        return np.array(
            [item.columns[keys[item.kind.name]] for item in self.objects if item.kind.name in keys], np.intp
        )

    @cached_property
    def object_of_word(self) -> NDArray[np.intp]:
        """Number of the object of every word, (n_words,)."""
        return np.array([number for number, item in enumerate(self.objects) for _ in item.columns], np.intp)

    @cached_property
    def presence_columns(self) -> NDArray[np.intp]:
        """Column of the pt word that says whether a word's object is there, (n_words,); -1: it always is."""
        return np.array(
            [
                item.columns["pt"] if item.kind.present == "pt" else -1
                for item in self.objects
                for _ in item.columns
            ],
            np.intp,
        )

    def present(self, words: NDArray[Any], kind: str | None = None) -> NDArray[np.bool_]:
        """Whether each object (of `kind`) is there, (n, n_objects) bool, for `words` (n, n_words)."""
        objects = [item for item in self.objects if kind is None or item.kind.name == kind]
        result = np.ones((len(words), len(objects)), np.bool_)
        for place, item in enumerate(objects):
            if item.kind.present == "pt":
                result[:, place] = words[:, item.columns["pt"]] > 0
        return result

    def select(self, parts: Iterable[tuple[str, int | None, Sequence[str] | None]], name: str) -> Layout:
        """The layout of some kinds, of each the first `count` objects and some quantities (None: all).

        Packing, steps and ports stay those of the objects. Raises UserError naming what is not there.
        """
        kinds = []
        for kind_name, count, names in parts:
            kind = self.kind(kind_name)
            if count is not None and not 1 <= count <= kind.count:
                raise UserError(f"layout {self.name!r}: it has 1 to {kind.count} {kind_name}, not {count}")
            quantities = kind.quantities if names is None else tuple(kind.quantity(name) for name in names)
            count = kind.count if count is None else count
            whole = count == kind.count
            kinds.append(
                replace(
                    kind,
                    count=count,
                    quantities=quantities,
                    shape=kind.shape if whole else None,
                    numbered=kind.numbered if whole else kind.is_numbered,
                )
            )
        return Layout(name, self.source, tuple(kinds))

    def columns_for(self, part: Layout) -> NDArray[np.intp]:
        """Column of this layout for every word of `part`, (n_words of part,); -1: always zero.

        So events of this layout feed a network that reads `part`. Raises UserError naming the kind or
        quantity that this layout lacks, or has in other bits or steps.
        """
        columns = []
        for item in part.objects:
            mine = self.kind(item.kind.name)
            if item.index >= mine.count:
                raise UserError(
                    f"layout {self.name!r} has {mine.count} {mine.name}, but {part.name!r} reads "
                    f"{item.kind.count}"
                )
            first = next(o for o in self.objects if o.kind.name == mine.name and o.index == item.index)
            for quantity in item.kind.quantities:
                columns.append(self._column_for(part, first, quantity))
        return np.array(columns, np.intp)

    def _column_for(self, part: Layout, item: Object, quantity: Quantity) -> int:
        if not quantity.bits:
            return -1
        mine = item.kind.quantity(quantity.name)
        for what in ("role", "bits", "signed", "step_value", "origin", "period"):
            if getattr(mine, what) != getattr(quantity, what):
                raise UserError(
                    f"layouts {self.name!r} and {part.name!r} differ in the {what.removesuffix('_value')} of "
                    f"{item.kind.name} {quantity.name}"
                )
        return item.columns[mine.key]

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of what a word means: all but `source`."""
        content = {key: value for key, value in to_plain(self, defaults=False).items() if key != "source"}
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def bare_layout(words: Sequence[Word], name: str = "words") -> Layout:
    """A layout of single words without meaning, each with a port of its own: for networks of no kind.

    Raises UserError for two words of one name.
    """
    names = [word.name for word in words]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"word {twice[0]!r} is there twice; word names must differ")
    return Layout(
        name,
        "words of a network file, without kinds",
        tuple(
            Kind(word.name, 1, (Quantity("", "value", word.width, word.signed),), order="place")
            for word in words
        ),
    )
