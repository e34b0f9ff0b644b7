"""Greeter: the smallest service, one unary method."""
