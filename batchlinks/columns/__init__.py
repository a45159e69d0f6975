"""What a header and its values mean: which column holds the ID, which hold what must stay."""
