"""Fixtures that several rooms share. Material in ../shared may be absent: then tests skip, visibly."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("AXO_SHARED", REPOSITORY.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared material; skips the test when it is not there."""
    if not SHARED.is_dir():
        pytest.skip(f"shared material is not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def golden_network(shared):
    """CMS's production network of 2024 in whole GeV, as the golden vectors have it."""
    from axo.interchange.axol1tl import read_cms_network
    from axo.network import WHOLE_GEV

    return read_cms_network(shared / "golden" / "axol1tl_v3.json", pt_convention=WHOLE_GEV)


@pytest.fixture(scope="session")
def production_network(shared):
    """CMS's production network of 2024 with the half GeV kept, as in the firmware."""
    from axo.interchange.axol1tl import read_cms_network

    return read_cms_network(shared / "golden" / "axol1tl_v3.json")


@pytest.fixture(scope="session")
def golden_vectors(shared):
    """x (n, 57) int16 in whole GeV, mu_word (n, 8) int16, score_word (n,) int32."""
    with np.load(shared / "golden" / "axol1tl_v3_vectors.npz") as vectors:
        return dict(vectors)
