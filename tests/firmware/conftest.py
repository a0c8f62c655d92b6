"""The golden network compiled once per session, for the emulator's and the library's tests."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture
def compiler() -> None:
    """Skips the test when there is no g++."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")


@pytest.fixture(scope="session")
def golden_project(golden_network, tmp_path_factory):
    """HLS project of CMS's production network, its hls4ml part compiled."""
    from axo.firmware.hls.project import compile_core, write_project

    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    project = write_project(golden_network, tmp_path_factory.mktemp("golden") / "hls")
    compile_core(project)
    return project
