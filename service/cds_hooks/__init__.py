"""The CDS Hooks door: discovery, calls, cards, feedback, and whom to believe."""
