"""What HealthEx's answers about consents come to for one patient, and who is sent a reminder. Pure."""
