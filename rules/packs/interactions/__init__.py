"""Vitamin D with diseases that make it dangerous, and with drugs that change it or are changed by calcium."""
