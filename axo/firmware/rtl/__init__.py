"""Pipelined RTL: trace, adders, pipeline, files, simulation."""
