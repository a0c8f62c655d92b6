"""Which network a user means: a released model's name, a folder, or a network file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from axo.errors import UserError, nearest
from axo.interchange.descriptions import read_description
from axo.network import Network, read_network
from axo.network.files import is_network_file
from axo.plugins import offered

OFFER = "axo.released_models"
"""Entry points: a folder with one folder per released model."""


@dataclass(frozen=True)
class Model:
    """A network, where it was read from, and the Keras model it was exported from (if known)."""

    name: str
    network: Network
    path: Path
    keras_path: Path | None


def released_models() -> dict[str, Path]:
    """Folders of the released artefacts by model name: of all that the programs offer."""
    folders = [Path(entry.load()) for entry in offered(OFFER)]
    files = [path for folder in folders for path in sorted(folder.glob("*/network.json"))]
    return {path.parent.name: path.parent for path in files}


def find_model(name: str) -> Model:
    """The model `name`: a released one, a folder with network.json, or a network file.

    A description of AXOL1TL or CICADA (as in golden/axol1tl_v3.json) is imported on the way. Raises
    UserError for an unknown name (with the nearest known one) or a damaged file.
    """
    path = Path(name)
    released = released_models()
    if name in released:
        path = released[name]
    if path.is_dir():
        path = path / "network.json"
    if not path.is_file():
        known = ", ".join(released) or "none; if there should be some, install axo again"
        raise UserError(
            f"model {name!r} is neither a released model nor a network file{nearest(name, list(released))} "
            f"(released: {known})"
        )
    if not is_network_file(path):
        network = read_description(path)
        return Model(network.name, network, path, None)
    network = read_network(path)
    keras_path = path.with_name("model.keras")
    return Model(network.name, network, path, keras_path if keras_path.is_file() else None)
