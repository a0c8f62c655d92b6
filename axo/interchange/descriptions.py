"""Descriptions of deployed networks that are not network files: which one a JSON file is, and its network."""

from __future__ import annotations

import os
from pathlib import Path

from axo.errors import UserError
from axo.files import read_json
from axo.interchange.axol1tl import read_cms_network
from axo.interchange.cicada import is_cicada, read_cicada_network
from axo.network.convention import HALF_KEPT
from axo.network.network import Network


def read_description(
    path: str | os.PathLike[str], name: str | None = None, pt_convention: str | None = None
) -> Network:
    """Import the description of CMS's AXOL1TL or CICADA in the JSON file `path`.

    `name` defaults to that of the file; `pt_convention` is AXOL1TL's alone: HALF_KEPT (the default) or
    WHOLE_GEV.
    Raises UserError naming the file and the fault.
    """
    name = name or Path(path).stem
    if is_cicada(read_json(path)):
        if pt_convention is not None:
            raise UserError(f"{path}: CICADA reads no pt words, so there is no pt convention to choose")
        return read_cicada_network(path, name)
    return read_cms_network(path, name, pt_convention or HALF_KEPT)
