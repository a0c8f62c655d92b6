"""TensorFlow and Keras, imported once and quietly, with the settings that exactness needs."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from types import ModuleType

THREADS = 2


def import_tensorflow() -> ModuleType:
    """Import TensorFlow (CPU, at most two threads); later calls return the same module.

    Full float32 is required: a reduced-precision matrix product would not be exact.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    with warnings.catch_warnings(), _silent_stderr():
        warnings.simplefilter("ignore")  # third-party deprecations at import
        import tensorflow as tf
    try:
        tf.config.threading.set_intra_op_parallelism_threads(THREADS)
        tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    except RuntimeError:
        pass  # already running with somebody else's choice, which is as exact
    tf.config.experimental.enable_tensor_float_32_execution(False)
    module: ModuleType = tf
    return module


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drop what native code writes: TensorFlow greets on import whatever its log level. Errors raise."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def import_keras() -> ModuleType:
    """Keras on the TensorFlow backend."""
    import_tensorflow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras
    module: ModuleType = keras
    return module


def import_qkeras() -> ModuleType:
    """The module with QDense, QActivation of the ``qkeras`` API (hgq2's, Keras 3)."""
    import_tensorflow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from qkeras import qlayers
    module: ModuleType = qlayers
    return module
