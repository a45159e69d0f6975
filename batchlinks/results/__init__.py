"""Verdicts and links -> the files that people get."""
