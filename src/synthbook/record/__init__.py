"""Parameters, rows, provenance, published values and chapters: what is known of a number."""
