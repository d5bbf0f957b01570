"""Text of generated files, as Jinja2: what differs arrives as values, and nothing is computed here."""
