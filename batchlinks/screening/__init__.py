"""A table -> one verdict a row: an ID to send, a refusal with its reason, or a duplicate. Pure."""
