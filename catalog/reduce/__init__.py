"""Reductions of rows to one number each."""
