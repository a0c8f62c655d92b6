"""Programs that train, evaluate and select models, and the released artefacts."""

from pathlib import Path

MODELS = Path(__file__).parent / "models"
"""The released artefacts, a folder each."""
