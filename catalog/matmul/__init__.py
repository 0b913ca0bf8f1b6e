"""Matrix products with fused epilogues."""
