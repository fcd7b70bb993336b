"""The record: what was seen, shown, answered and decided, from the spool file to the store."""
