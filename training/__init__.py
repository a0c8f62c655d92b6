"""Programs that train, evaluate and select models, and the released artefacts."""
