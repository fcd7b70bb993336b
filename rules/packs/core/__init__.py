"""Shared knowledge: what people take and since when, their INR, sources, actions and words."""
