"""Folders anywhere, and files that come whole or not at all."""
