"""The fast exact kernel and the replay of recorded data."""
