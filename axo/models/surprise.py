"""How rare each object is in zero bias: the scale on which detectors compare objects of all kinds."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from axo.models.objects import Objects


def surprise_table(words: ArrayLike, objects: Objects) -> NDArray[np.float64]:
    """sqrt(-2 ln P(pt' >= pt)) for every pt word, (objects, words), from zero-bias `words` (n, n_words).

    An absent object has pt 0 and surprise 0. One event is added to every count, so that a pt beyond
    all of `words` has the surprise of the rarest event.
    """
    pt = np.asarray(words)[:, objects.columns]
    table = np.empty((objects.count, 1 + int(objects.layout.high[objects.columns].max())))
    for item in range(objects.count):
        counts = np.bincount(pt[:, item], minlength=table.shape[1])
        above = counts[::-1].cumsum()[::-1]
        table[item] = np.sqrt(-2 * np.log((above + 1) / (len(pt) + 1)))
    return table


def surprise(table: NDArray[np.float64], words: NDArray[np.integer], objects: Objects) -> NDArray[np.float64]:
    """Surprise of the objects of raw `words` (n, n_words), (n, objects), from `surprise_table`'s `table`."""
    found: NDArray[np.float64] = table[np.arange(objects.count), words[:, objects.columns]]
    return found


def tail_frequency(
    table: NDArray[np.float64], words: NDArray[np.integer], objects: Objects, tail: float
) -> NDArray[np.float64]:
    """P**-tail (n,), with P the fraction of zero bias in which the event's rarest object is as hard."""
    hardest = surprise(table, words, objects).max(axis=1)
    frequency: NDArray[np.float64] = np.exp(tail * hardest**2 / 2)
    return frequency
