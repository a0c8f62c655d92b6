"""axo: the open, exact chain behind a Level-1 anomaly-detection trigger seed."""

__version__ = "0.1.0"
