"""What methods there are, what each takes, and recipes made of them; read without importing torch."""

from tacita.catalog.cards import Card, method

__all__ = ["Card", "method"]
