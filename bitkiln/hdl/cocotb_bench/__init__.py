"""The folder that a simulator's own Python gets on its path: what it imports must not load bitkiln, and so torch."""
