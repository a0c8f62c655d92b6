"""Model families: one file each, its class named FAMILY (see axo.models.family)."""
