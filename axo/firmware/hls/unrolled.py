"""What hls4ml's distributed arithmetic wrote for a dense layer, read back as its matrix and biases.

The layer is a function of sums of shifted inputs, without arrays of weights (da4ml writes it). Each
of its variables is a linear form of the inputs; followed exactly, the forms of the outputs are the
layer's weights and biases, provided that the type of every variable holds all of its values.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from fractions import Fraction

from axo.network import FixedType

Form = Mapping[int, Fraction]
"""Input -> its factor; the key after those of the inputs has the constant."""

_TYPE = r"ap_u?fixed<\d+,-?\d+>"
_STATEMENT = re.compile(rf"(?:({_TYPE}) )?(v\d+|model_out\[\d+\]) = (.+);")
_CAST = re.compile(rf"({_TYPE})\((.+)\)")
_NUMBER = r"\d[\d.]*(?:e[+-]?\d+)?"
_TERM = re.compile(
    r"(?P<sign>^-?|[+-]) ?(?:"
    r"bit_shift<(?P<shift>-?\d+)>\((?P<shifted>v\d+)\)|"
    r"(?P<variable>v\d+|model_inp\[\d+\])|"
    rf"(?P<type>{_TYPE})\((?P<typed>{_NUMBER})\)|(?P<number>{_NUMBER})) *"
)


def read_unrolled(
    text: str, function: str, inputs: FixedType, shape: tuple[int, ...]
) -> list[list[Fraction]]:
    """Rows of the layer's matrix (one for each input, `shape` in all), then its biases, exactly.

    `text` is the C++ with the `function`, `inputs` the type of its inputs. Raises ValueError for a
    line that cannot be read, or whose type does not hold every value.
    """
    n_in, n_out = shape
    head = rf"^void {function}\(inp_t model_inp\[{n_in}\], out_t model_out\[{n_out}\]\) \{{[^\n]*\n"
    body = re.search(rf"{head}(.*?)^\}}", text, re.DOTALL | re.MULTILINE)
    forms: dict[str, Form] = {f"model_inp[{i}]": {i: Fraction(1)} for i in range(n_in)}
    reader = _Reader(forms, inputs, n_in)
    for line in (body[1] if body else "").splitlines():
        statement = line.partition(" //")[0].strip()
        if statement and statement != "#pragma HLS INLINE":
            reader.read(statement)
    outputs = [forms.get(f"model_out[{j}]") for j in range(n_out)]
    return [[form.get(i, Fraction(0)) for form in outputs if form is not None] for i in range(n_in + 1)]


class _Reader:
    """The linear forms of the variables so far, in `forms`."""

    def __init__(self, forms: dict[str, Form], inputs: FixedType, constant: int) -> None:
        self.forms, self.inputs, self.constant = forms, inputs, constant

    def read(self, statement: str) -> None:
        match = _STATEMENT.fullmatch(statement)
        if not match:
            raise ValueError(f"{statement!r}")
        kind, name, expression = match.groups()
        if kind is None and (cast := _CAST.fullmatch(expression)):
            kind, expression = cast.groups()
        form = self._sum(expression)
        # Only a plain 0 is assigned without a type.
        holds = self._holds(FixedType.parse(kind), form) if kind else not form
        if not holds:
            raise ValueError(f"{statement!r}, whose type does not hold every value")
        self.forms[name] = form

    def _sum(self, expression: str) -> Form:
        total: dict[int, Fraction] = defaultdict(Fraction)
        position = 0
        while position < len(expression):
            match = _TERM.match(expression, position)
            if not match:
                raise ValueError(f"{expression!r}")
            scale = Fraction(2) ** int(match["shift"] or 0) * (-1 if match["sign"] == "-" else 1)
            for key, factor in self._term(match).items():
                total[key] += factor * scale
            position = match.end()
        return {key: factor for key, factor in total.items() if factor}

    def _term(self, match: re.Match[str]) -> Form:
        name = match["shifted"] or match["variable"]
        if name is not None:
            if name not in self.forms:
                raise ValueError(f"{name!r} before it is known")
            return self.forms[name]
        # As the C++ compiler reads it: as a double.
        constant = {self.constant: Fraction(float(match["typed"] or match["number"]))}
        if match["type"] is not None and not self._holds(FixedType.parse(match["type"]), constant):
            raise ValueError(f"{match[0]!r}, whose type does not hold it")
        return constant

    def _holds(self, kind: FixedType, form: Form) -> bool:
        """Whether `kind` holds `form` for all inputs, without rounding: range and last bit."""
        unit, input_unit = Fraction(2) ** kind.fraction, Fraction(2) ** -self.inputs.fraction
        low = high = Fraction(0)
        for key, factor in form.items():
            step = factor * unit * (1 if key == self.constant else input_unit)
            if step.denominator != 1:
                return False
            ends = (self.inputs.min_int, self.inputs.max_int) if key != self.constant else (1, 1)
            low, high = low + min(step * end for end in ends), high + max(step * end for end in ends)
        return kind.min_int <= low and high <= kind.max_int
