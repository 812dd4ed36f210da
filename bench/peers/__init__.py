"""Others that serve models, installed on demand into `.tools/peers` and started as they advise."""
