"""Executing chapters, building the book, and making the recorded rows."""
