"""An external ID -> its link: calls, token, pace, retries, and whose link it is. The only package with HTTP calls out."""
