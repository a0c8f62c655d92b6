"""How rare each object is in zero bias: the scale on which detectors compare objects of all kinds."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from axo.layout.cms import OBJECTS, PT_COLUMNS


def surprise_table(words: ArrayLike) -> NDArray[np.float64]:
    """sqrt(-2 ln P(pt' >= pt)) for every whole-GeV pt, (19, 2048), from zero-bias `words` (n, 57).

    An absent object has pt 0 and surprise 0. One event is added to every count, so that a pt beyond
    all of `words` has the surprise of the rarest event.
    """
    pt = np.asarray(words)[:, PT_COLUMNS] // 2
    table = np.empty((len(OBJECTS), 2048))
    for item in range(len(OBJECTS)):
        counts = np.bincount(pt[:, item], minlength=table.shape[1])
        above = counts[::-1].cumsum()[::-1]
        table[item] = np.sqrt(-2 * np.log((above + 1) / (len(pt) + 1)))
    return table


def surprise(table: NDArray[np.float64], words: NDArray[np.int16]) -> NDArray[np.float64]:
    """Surprise of the 19 objects of raw `words` (n, 57), (n, 19), from the `table` of `surprise_table`."""
    return table[np.arange(len(OBJECTS)), words[:, PT_COLUMNS] // 2]


def tail_frequency(table: NDArray[np.float64], words: NDArray[np.int16], tail: float) -> NDArray[np.float64]:
    """P**-tail (n,), with P the fraction of zero bias in which the event's rarest object is as hard."""
    return np.exp(tail * surprise(table, words).max(axis=1) ** 2 / 2)
