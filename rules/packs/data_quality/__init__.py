"""Results that could not be used, and vitamin D products whose dose is missing where it would matter."""
