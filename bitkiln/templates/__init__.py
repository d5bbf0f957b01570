"""Placeholder docstring, rewritten by the folder's owner."""
