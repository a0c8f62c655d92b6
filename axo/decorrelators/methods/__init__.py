"""Decorrelation methods: one file each, its class named METHOD (see axo.decorrelators.method)."""
