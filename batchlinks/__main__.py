"""`python -m batchlinks`."""

from batchlinks.cli import program

program()
