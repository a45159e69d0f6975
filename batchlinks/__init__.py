"""HealthEx patient links for a whole roster."""

__version__ = "0.1.0"
