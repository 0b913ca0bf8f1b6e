"""Positions of tokens, put into queries and keys."""
