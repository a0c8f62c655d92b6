"""What axo train writes for TensorBoard, read back from the event files."""

from __future__ import annotations

import pytest

from axo.models.backend import import_tensorflow
from axo.training.scalars import Scalars


def read_scalars(folder):
    """{(name, epoch): value} of every event file in `folder`, and the plug-ins that they are for."""
    import_tensorflow()
    import tensorflow as tf
    from tensorflow.core.util import event_pb2

    found, plugins = {}, set()
    for path in folder.iterdir():
        for record in tf.data.TFRecordDataset(str(path)):
            event = event_pb2.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert (value.tag, event.step) not in found, "an epoch is there twice"
                found[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
                plugins.add(value.metadata.plugin_data.plugin_name)
    return found, plugins


def test_epochs_are_read_back_once_each(tmp_path):
    first = Scalars(tmp_path / "seed1", [])
    first.write({"loss": 3.0, "validation_loss": 3.5})
    first.write({"loss": 2.0, "validation_loss": 2.25})
    # Interrupted: the second epoch was written but its checkpoint was not, so it is trained again.
    second = Scalars(tmp_path / "seed1", [{"loss": 3.0, "validation_loss": 3.5}])
    second.write({"loss": 1.5, "validation_loss": 1.75})
    second.close()
    found, plugins = read_scalars(tmp_path / "seed1")
    assert found == {
        ("loss", 1): 3.0,
        ("validation_loss", 1): 3.5,
        ("loss", 2): 1.5,
        ("validation_loss", 2): 1.75,
    }
    assert plugins == {"scalars"}
    first.close()


def test_training_writes_every_epoch_of_every_seed(tmp_path):
    import json

    from tests.training.test_train import run

    run(tmp_path)
    card = json.loads((tmp_path / "out" / "model_card.json").read_text())
    for seed in card["seeds"]:
        found, _ = read_scalars(tmp_path / "work" / "tensorboard" / f"seed{seed['seed']}")
        assert {step for _, step in found} == {1, 2}
        assert {"loss", "validation_loss", "events_per_s"} <= {name for name, _ in found}
        # The figure that seeds are compared by is that of the last epoch.
        assert found["validation_loss", 2] == pytest.approx(seed["validation_loss"], rel=1e-5)
        assert (tmp_path / "work" / f"seed{seed['seed']}.network.json").is_file()
