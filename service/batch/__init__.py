"""Review of whole populations: files in, one review per patient, sorted files out."""
