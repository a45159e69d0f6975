"""One cell -> an ID; two rows -> one person? Pure."""
