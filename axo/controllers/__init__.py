"""One file per threshold controller: pure state to state, no clock, no I/O."""
