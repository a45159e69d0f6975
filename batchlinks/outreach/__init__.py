"""From links to what patients get: letters, messages, telephone numbers. Who is held back, in which language."""
