"""Vitamin D status and testing: levels, calcium, kidney, and who may be offered vitamin D."""
