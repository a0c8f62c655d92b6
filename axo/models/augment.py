"""Random copies of events that differ in what physics does not tell apart: the views of VICReg."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from axo.errors import UserError
from axo.models.backend import import_tensorflow
from axo.models.objects import Objects
from axo.models.scaling import Scaling
from axo.network.convention import WHOLE_GEV, halving

tf = import_tensorflow()


@dataclass(frozen=True)
class Augmentations:
    """What a view changes; all randomly, event by event.

    `rotate`: one phi for all objects of the event, uniform. `pt_resolution`: relative width of a
    Gaussian factor on each pt; `angle_resolution`: width in radians of what is added to eta and to phi
    of each object. `masked`: probability that an object goes missing (one that always is there never does).
    """

    rotate: bool = True
    pt_resolution: float = 0.1
    angle_resolution: float = 0.05
    masked: float = 0.1

    def __post_init__(self) -> None:
        if min(self.pt_resolution, self.angle_resolution) < 0 or not 0 <= self.masked < 1:
            raise UserError("resolutions must not be negative, and masked within 0 and 1")


class Augmenter:
    """Views of raw words, as a network's scaled inputs."""

    def __init__(self, config: Augmentations, scaling: Scaling) -> None:
        self._config, self._scaling = config, scaling
        self._objects = Objects(scaling.layout)
        self._quantities = quantities = scaling.layout.quantities
        self._is_phi = np.array([quantity.role == "phi" for quantity in quantities])
        is_eta = np.array([quantity.role == "eta" and quantity.bits > 0 for quantity in quantities])
        step = np.array([quantity.step_value for quantity in quantities])
        # What a word moves by for an angle of 1.
        self._per_eta, self._per_phi = (np.where(mask, 1 / step, 0.0) for mask in (is_eta, self._is_phi))
        for quantity in quantities:
            if quantity.role == "phi" and (quantity.period is None or quantity.signed):
                raise UserError(f"{quantity.name}: views need unsigned phi words with a period")
        self._period = np.array([quantity.period or 1 for quantity in quantities], np.float32)

    def words(self, words: Any, seed: Any) -> Any:
        """A view of raw `words` (n, n_words) as float32 words; `seed` (2,) int32 fixes all that is random.

        phi stays within its circle, eta and pt may leave their hardware ranges by their noise, and the
        objects of a kind may swap ranks in pt, as they do in the detector: they are not sorted again.
        """
        config, objects = self._config, self._objects
        words = tf.cast(words, tf.float32)
        count = tf.shape(words)[0]
        seeds = tf.random.split(seed, 5)
        keep = (
            tf.random.stateless_uniform((count, objects.count), seeds[0]) >= config.masked * self._maskable()
        )
        pt = tf.gather(words, objects.columns, axis=1)
        present = tf.cast((pt > 0) & keep, tf.float32)
        turn = tf.random.stateless_uniform((count, 1), seeds[1], maxval=2 * np.pi) * float(config.rotate)
        noise = [tf.random.stateless_normal((count, objects.count), seeds[i]) for i in (2, 3, 4)]
        blurred = tf.maximum(tf.round(pt * (1 + config.pt_resolution * noise[0])), 1.0)
        eta, phi = (config.angle_resolution * self._by_word(part) for part in noise[1:])
        moved = words + tf.round(eta * self._per_eta.astype(np.float32))
        turned = tf.round(words + (turn + phi) * self._per_phi.astype(np.float32))
        moved = tf.where(self._is_phi, tf.math.floormod(turned, self._period), moved)
        is_pt = np.isin(np.arange(len(self._quantities)), objects.columns)
        moved = tf.where(is_pt, self._by_word(blurred), moved)
        return moved * self._by_word(present, 1.0)

    def inputs(self, words: Any) -> Any:
        """The values of ``network_input`` (n, n_words) of float32 `words`, as `Scaling.inputs` gives them.

        Both tie to even. Exact for whole words within the hardware widths.
        """
        scaling = self._scaling
        kind, unscaled, halved = scaling.input_type, scaling.unscaled_type, halving(scaling.layout)
        gev = words * np.where(halved, 0.5, 1.0).astype(np.float32)
        if scaling.pt_convention == WHOLE_GEV:
            gev = tf.floor(gev)
        centred = gev - np.array(scaling.offset, np.float32)
        # The shift drops bits below the unscaled type's last one; the cast to the input type rounds.
        shifted = tf.floor(centred * 2.0 ** (unscaled.fraction - np.array(scaling.shift, np.float32)))
        rounded = tf.round(shifted * 2.0 ** (kind.fraction - unscaled.fraction))
        return tf.clip_by_value(rounded, kind.min_int, kind.max_int) * 2.0**-kind.fraction

    def _by_word(self, values: Any, otherwise: float = 0.0) -> Any:
        """Of `values` (n, objects) that of each word's object, (n, n_words), or `otherwise` without."""
        objects, layout = self._objects, self._scaling.layout
        place = {item.name: i for i, item in enumerate(objects.items)}
        column = [place.get(layout.objects[number].name, objects.count) for number in layout.object_of_word]
        padded = tf.pad(values, [[0, 0], [0, 1]], constant_values=otherwise)
        return tf.gather(padded, np.array(column), axis=1)

    def _maskable(self) -> Any:
        return np.array([item.kind.present != "always" for item in self._objects.items], np.float32)
