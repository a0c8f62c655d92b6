"""Decorrelation of the score from the existing triggers: one file per method in methods/."""
