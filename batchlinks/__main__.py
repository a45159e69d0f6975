"""`python -m batchlinks`."""

import sys

from batchlinks.cli import main

sys.exit(main())
