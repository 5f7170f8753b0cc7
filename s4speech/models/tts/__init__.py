"""From phones to log-mel frames."""
