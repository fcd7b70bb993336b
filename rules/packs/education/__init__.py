"""Vitamin D and K2 explained to those who asked for teaching; it never advises to start K2."""
