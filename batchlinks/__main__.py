"""`python -m batchlinks`."""

from batchlinks.cli.main import program

program()
