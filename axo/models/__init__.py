"""Detectors to train (Keras; float and quantised): one file per family in families/, and what they share."""
