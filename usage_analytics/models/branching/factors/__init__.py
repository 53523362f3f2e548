"""Factors by which counts are corrected, and how they are learned."""
