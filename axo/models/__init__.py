"""One file per model family (Keras; float and quantised), found by module name."""
