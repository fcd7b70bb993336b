"""FHIR in, as facts and gaps; FHIR out, as drafts."""
