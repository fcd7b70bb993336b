"""Conformance checks for any CDS Hooks service: shapes of what it answers, and how it behaves on the wire."""
