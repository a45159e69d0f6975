"""Where settings and secrets come from."""
