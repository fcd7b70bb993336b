"""Vitamin K together with warfarin or another vitamin K antagonist."""
