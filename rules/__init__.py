"""The science: facts in, assessment out. Knows no FHIR, no web, no database, no clock, no environment."""
