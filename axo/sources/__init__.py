"""One file per input format, found by module name."""
