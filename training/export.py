"""Turn a trained Keras model into a network file, and check that both agree on every word.

  axo export build/models/axo_v3                       the artefact's model.keras again
  axo export build/models/axo_v3 --output network.json

The folder holds model.keras and model_card.json (scaling, working points), as ``axo train`` writes
them. Keras model and network are compared as integers; a mismatch fails the export.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``axo export``."""
    parser.add_argument("folder", help="folder with model.keras and model_card.json")
    parser.add_argument("--output", help="network file to write (default: FOLDER/network.json)")
    parser.add_argument("--events", type=int, default=100_000, help="words to compare on (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Run ``axo export``."""
    from axo.errors import UserError
    from axo.files import read_json
    from axo.firmware.stimuli import make_stimuli
    from axo.interchange.keras import cost, require_exact_in_float32
    from axo.models.evaluate import compare, read_keras
    from axo.models.family import find_family
    from axo.models.scaling import Scaling
    from axo.network import digest, write_network

    if args.events < 1:
        raise UserError("--events must be positive")
    folder = Path(args.folder)
    card = read_json(folder / "model_card.json")
    try:
        name, scaling = card["name"], Scaling.from_json(card["scaling"])
        family = find_family(card["family"])
        points = {point: entry["threshold_word"] for point, entry in card["figures"]["rates"].items()}
        provenance = card["provenance"]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{folder / 'model_card.json'}: {error} is missing or damaged; train again"
        ) from error
    keras_path = folder / "model.keras"
    network = family.export_encoder(name, scaling, read_keras(keras_path))
    network = dataclasses.replace(network, thresholds=points, provenance=provenance)
    largest = require_exact_in_float32(network)
    none = np.empty((0, len(network.words)), network.layout.dtype)
    words = make_stimuli(network, args.events, [], [none]).words
    agreement = compare(keras_path, network, words)
    if agreement.mismatches:
        raise UserError(f"{keras_path}: differs from the exported network at {agreement.first}")
    output = args.output or folder / "network.json"
    write_network(output, network)
    print(f"{agreement.events} events compared, 0 mismatches; dense sums reach {largest} of 2^24")
    print(f"{sum(part.csd_digits for part in cost(network))} non-zero CSD digits")
    print(f"wrote {output}: sha256 {digest(network)}")
    return 0
