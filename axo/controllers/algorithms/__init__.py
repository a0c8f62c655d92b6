"""Controllers without their guard: one file each, with a class Controller (an axo.controllers Algorithm)."""
