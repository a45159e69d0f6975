"""Corrected cells of a list: where they come from, what they are, and the list with them."""
