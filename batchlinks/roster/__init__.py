"""A file of any kind -> a table of text as a person sees it."""
