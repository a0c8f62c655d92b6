"""The threshold controller as a service beside data taking."""
