"""Tools run by subprocess, and what their reports say."""
