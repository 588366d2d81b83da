"""What the chapters of a study run: typed settings in, rows (plain dicts) out."""
