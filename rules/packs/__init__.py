"""The packs of clinical knowledge that ship with dekacard; a hospital's own have the same form."""
