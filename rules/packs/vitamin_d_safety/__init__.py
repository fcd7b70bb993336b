"""Vitamin D safety: doses above the upper level, courses that were not ended, high levels, high calcium."""
