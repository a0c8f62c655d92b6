"""Random copies of events that differ in what physics does not tell apart: the views of VICReg."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from axo.errors import UserError
from axo.layout.cms import OBJECTS
from axo.layout.units import KINDS
from axo.models.backend import import_tensorflow
from axo.models.scaling import UNSCALED, Scaling

tf = import_tensorflow()


@dataclass(frozen=True)
class Augmentations:
    """What a view changes; all randomly, event by event.

    `rotate`: one phi for all objects of the event, uniform. `pt_resolution`: relative width of a
    Gaussian factor on each pt; `angle_resolution`: width in radians of what is added to eta and to phi
    of each object. `masked`: probability that an object goes missing (MET never does).
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
        kinds = [kind for kind in KINDS.values() for _ in range(kind.count)]
        self._eta_step = np.array([kind.eta_step for kind in kinds], np.float32)
        self._phi_step = np.array([kind.phi_step for kind in kinds], np.float32)
        self._phi_steps = np.array([kind.phi_steps for kind in kinds], np.float32)

    def words(self, words: Any, seed: Any) -> Any:
        """A view of raw `words` (n, 57) as float32 words; `seed` (2,) int32 fixes all that is random.

        phi stays within its circle, eta and pt may leave their hardware ranges by their noise, and the
        objects of a kind may swap ranks in pt, as they do in the detector: they are not sorted again.
        """
        config, shape = self._config, (tf.shape(words)[0], len(OBJECTS))
        seeds = tf.random.split(seed, 5)
        pt, eta, phi = (tf.cast(words[:, quantity::3], tf.float32) for quantity in range(3))
        keep = tf.random.stateless_uniform(shape, seeds[0]) >= config.masked * self._maskable()
        present = tf.cast((pt > 0) & keep, tf.float32)
        turn = tf.random.stateless_uniform((shape[0], 1), seeds[1], maxval=2 * np.pi) * float(config.rotate)
        noise = [tf.random.stateless_normal(shape, seeds[i]) for i in (2, 3, 4)]
        pt = tf.maximum(tf.round(pt * (1 + config.pt_resolution * noise[0])), 1.0)
        has_eta = tf.cast(np.arange(len(OBJECTS)) > 0, tf.float32)
        eta += tf.round(has_eta * config.angle_resolution * noise[1] / self._eta_step)
        phi = tf.round(phi + (turn + config.angle_resolution * noise[2]) / self._phi_step)
        phi = tf.math.floormod(phi, self._phi_steps)
        return tf.reshape(
            tf.stack([part * present for part in (pt, eta, phi)], axis=2), (-1, 3 * len(OBJECTS))
        )

    def inputs(self, words: Any) -> Any:
        """The values of ``network_input`` (n, 57) of float32 `words`, as `Scaling.inputs` gives them.

        Both tie to even. Exact for whole words within the hardware widths.
        """
        kind, halved = self._scaling.input_type, np.arange(3 * len(OBJECTS)) % 3 == 0
        whole = tf.where(halved, tf.floor(words / 2), words) - np.array(self._scaling.offset, np.float32)
        # The shift drops bits below UNSCALED's last one; the cast to the input type rounds.
        shifted = tf.floor(whole * 2.0 ** (UNSCALED.fraction - np.array(self._scaling.shift, np.float32)))
        rounded = tf.round(shifted * 2.0 ** (kind.fraction - UNSCALED.fraction))
        return tf.clip_by_value(rounded, kind.min_int, kind.max_int) * 2.0**-kind.fraction

    def _maskable(self) -> Any:
        return np.array([name != "MET" for name in OBJECTS], np.float32)
