"""The C++ of an hls4ml firmware folder, as far as importing a network reads it: types, sizes, constants."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from axo.errors import UserError
from axo.network.types import FixedType, Ints


@dataclass(frozen=True)
class Array:
    """``type name[...] = {values};`` of a file (or the values of a text file), with its place."""

    path: Path
    line: int
    type: str
    values: tuple[float, ...]

    def integers(self, kind: FixedType) -> Ints:
        """The values as ap_fixed's constructor from double makes them of `kind`."""
        # Two bits more than the type has, and one that says whether anything lies further down.
        fraction = kind.fraction + 2
        scaled = [Fraction(value) * Fraction(2) ** fraction for value in self.values]
        if any(abs(value) >= 1 << 60 for value in scaled):
            raise UserError(f"{self.path}:{self.line}: a constant is far beyond its type {kind}")
        exact = [2 * (v.numerator // v.denominator) + (v.denominator != 1) for v in scaled]
        return kind.cast(np.array(exact, np.int64), fraction + 1)


class File:
    """A C++ file without its comments, whose places still have their line numbers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.raw = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
        self.text = _COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), self.raw)

    def line(self, position: int) -> int:
        """Line number of a position in `text`."""
        return self.text.count("\n", 0, position) + 1

    def array(self, name: str) -> Array | None:
        """The array `name` that is given values here."""
        match = re.search(rf"(\w+)\s+{name}\s*\[\s*\w*\s*\]\s*=\s*\{{([^{{}}]*)\}}", self.text)
        if match is None:
            return None
        return Array(self.path, self.line(match.start()), match[1], _numbers(match[2], self.path, name))


_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_STRUCT = re.compile(r"\bstruct\s[^{;]*\{.*?\n\s*\}\s*;", re.DOTALL)


def _numbers(text: str, path: Path, name: str) -> tuple[float, ...]:
    try:
        return tuple(float(field.strip().rstrip("fF")) for field in text.split(",") if field.strip())
    except ValueError as error:
        raise UserError(f"{path}: array {name} holds something that is no number ({error})") from error


class Unit:
    """The files of a firmware folder that make up its program, less hls4ml's and the vendor's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.top = self._find_top()
        self.files: list[File] = []
        self._typedefs: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._include(self.top)

    def _find_top(self) -> File:
        """The source file with layer calls."""
        sources = [File(path) for path in sorted(self.folder.glob("*.cpp"))]
        tops = [
            file for file in sources if re.search(r"\bvoid\s+\w+\s*\(", file.text) and "nnet::" in file.text
        ]
        if len(tops) != 1:
            found = ", ".join(file.path.name for file in tops) or "none"
            raise UserError(f"{self.folder}: one .cpp file must call hls4ml's layers; found {found}")
        return tops[0]

    def _include(self, file: File) -> None:
        if any(file.path == known.path for known in self.files):
            return
        for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', file.text, re.MULTILINE):
            path = (file.path.parent / match[1]).resolve()
            own = not match[1].startswith(("nnet_utils/", "ap_", "hls_"))
            if own and path.is_file():
                self._include(File(path))
        self.add(file)

    def add(self, file: File) -> None:
        """Take what `file` defines; UserError when it defines a type differently than another one."""
        self.files.append(file)
        text = _STRUCT.sub("", file.text)
        typedefs = re.findall(r"\btypedef\s+([^;{}]+?)\s+(\w+)\s*;", text)
        typedefs += [(kind, name) for name, kind in re.findall(r"\busing\s+(\w+)\s*=\s*(ap_[^;]+);", text)]
        for kind, name in typedefs:
            if self._typedefs.setdefault(name, kind) != kind:
                raise UserError(f"{file.path}: type {name} is {kind}, but {self._typedefs[name]} elsewhere")
        for pattern in (
            r"\bconst(?:expr)?\s+(?:unsigned\s+)?int\s+(\w+)\s*=\s*(\d+)\s*;",
            r"#define\s+(\w+)\s+(\d+)\b",
        ):
            self._numbers |= {name: int(value) for name, value in re.findall(pattern, file.text)}

    def typedef(self, name: str) -> FixedType | None:
        """The type called `name`, or None."""
        return self.type(name) if name in self._typedefs else None

    def type(self, name: str) -> FixedType:
        """The type called `name`, or spelt out; UserError for one that is not fixed-point."""
        seen = []
        while (short := name.rpartition("::")[2]) in self._typedefs and short not in seen:
            seen.append(short)
            name = self._typedefs[short]
        try:
            return FixedType.parse(name)
        except UserError as error:
            raise UserError(f"{self.folder}: {' = '.join([*seen, name])}: {error}") from error

    def number(self, text: str) -> int | None:
        """A size, as digits or by name; None for anything else."""
        return int(text) if text.isdecimal() else self._numbers.get(text)

    def configuration(self, name: str) -> dict[str, str] | None:
        """What ``struct name`` sets: constants, typedefs and aliases by name; None when there is none."""
        for file in self.files:
            match = re.search(rf"\bstruct\s+{name}\s*:[^{{]*\{{(.*?)\n\s*\}}\s*;", file.text, re.DOTALL)
            if match:
                values = {
                    key: kind for kind, key in re.findall(r"\btypedef\s+([^;]+?)\s+(\w+)\s*;", match[1])
                }
                values |= dict(re.findall(r"\busing\s+(\w+)\s*=\s*([\w:]+)", match[1]))
                return values | dict(
                    re.findall(r"\bstatic\s+const\s+\w+\s+(\w+)\s*=\s*([^;]+?)\s*;", match[1])
                )
        return None

    def weights(self, name: str, layer: str, from_text: bool) -> Array:
        """The constants of the array `name`.

        UserError when there are none, or when `from_text` (the simulation reads weights/NAME.txt) and
        that file differs from the array that the firmware has.
        """
        others = [File(path) for path in sorted(self.folder.glob("*.cpp")) if path != self.top.path]
        arrays = (file.array(name) for file in [*self.files, *others])
        array = next((array for array in arrays if array is not None), None)
        text = self.folder / "weights" / f"{name}.txt"
        if text.is_file() and (from_text or array is None):
            values = _numbers(text.read_text(), text, name)
            if array is not None and array.values != values:
                raise UserError(
                    f"{text}: differs from array {name} in {array.path}, which is what the firmware has; "
                    "remove the one that is out of date"
                )
            array = array or Array(text, 1, "", values)
        if array is None:
            raise UserError(
                f"{self.folder}: layer {layer}: no values of {name}, in a header or in {text.name}"
            )
        if array.path not in (file.path for file in self.files):
            self.files.append(File(array.path))
        return array

    def digests(self) -> dict[str, str]:
        """sha256 of every file that was read."""
        from axo.provenance import file_digest

        return {file.path.name: file_digest(file.path) for file in self.files}
