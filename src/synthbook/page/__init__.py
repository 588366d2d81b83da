"""Figures, tables and the rest of what a chapter shows."""
