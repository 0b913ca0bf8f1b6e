"""Random masks and numbers."""
