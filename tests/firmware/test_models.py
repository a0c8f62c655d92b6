"""Finding the network a user means."""

import json

import pytest

from axo.errors import UserError
from axo.firmware import models
from axo.interchange.axol1tl import read_cms_network
from axo.network import digest, write_network


@pytest.fixture
def released(tmp_path, monkeypatch, golden_network):
    write_network(tmp_path / "axo_v3" / "network.json", golden_network)
    monkeypatch.setattr(models, "released_models", lambda: {"axo_v3": tmp_path / "axo_v3"})
    return tmp_path / "axo_v3"


def test_by_name_folder_and_file(released, golden_network):
    for name in ("axo_v3", str(released), str(released / "network.json")):
        model = models.find_model(name)
        assert digest(model.network) == digest(golden_network)
        assert model.keras_path is None
    (released / "model.keras").touch()
    assert models.find_model("axo_v3").keras_path == released / "model.keras"


def test_a_cms_description_is_imported(shared):
    path = shared / "golden" / "axol1tl_v3.json"
    assert digest(models.find_model(str(path)).network) == digest(read_cms_network(path))


def test_unknown_name_suggests_the_nearest(released):
    with pytest.raises(UserError, match=r"'axo_v4'.*did you mean 'axo_v3'\?.*released: axo_v3"):
        models.find_model("axo_v4")


def test_a_tampered_network_is_refused(released):
    path = released / "network.json"
    document = json.loads(path.read_text())
    document["operations"][-2]["type"]["width"] += 1
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match="does not match its sha256 digest"):
        models.find_model("axo_v3")
