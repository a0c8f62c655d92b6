"""One file per decorrelation method, found by module name."""
