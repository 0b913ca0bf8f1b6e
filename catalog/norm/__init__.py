"""Normalisations: softmax and the norms of layers."""
