TAIL_FORMAT = "axo-tail-events-1"
