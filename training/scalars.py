"""Scalars per epoch for TensorBoard (``tensorboard --logdir WORK/tensorboard``), one run a seed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from axo.models.backend import import_tensorflow


class Scalars:
    """Writes event files into `folder`, which is emptied first: `history` are the epochs done already.

    So a resumed training shows every epoch once, whatever an interrupted one had written.
    """

    def __init__(self, folder: Path, history: Sequence[Mapping[str, float]]) -> None:
        tf = import_tensorflow()
        shutil.rmtree(folder, ignore_errors=True)
        self._tf, self._epoch = tf, 0
        self._writer = tf.summary.create_file_writer(str(folder))
        # What tf.summary.scalar writes; that function itself needs TensorBoard installed.
        self._metadata = tf.compat.v1.SummaryMetadata(
            plugin_data={"plugin_name": "scalars"}, data_class="DATA_CLASS_SCALAR"
        )
        for metrics in history:
            self.write(metrics)

    def write(self, metrics: Mapping[str, float]) -> None:
        """The scalars of the next epoch; they are on disk when this returns."""
        self._epoch += 1
        with self._writer.as_default(self._epoch):
            for name, value in metrics.items():
                self._tf.summary.write(
                    name, self._tf.constant(value, self._tf.float32), metadata=self._metadata
                )
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
