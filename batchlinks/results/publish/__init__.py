"""How result files get to their place: whole or not at all, and never over a file that someone changed."""
