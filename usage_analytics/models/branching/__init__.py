"""Predictive branching: what will this user open next, and how sure are we."""
