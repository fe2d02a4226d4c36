"""The marketplace in the staff console, one module per room."""

from marketplace.admin import buyers, catalogue, ingest, money, orders, people, prices, shelf

__all__ = ["buyers", "catalogue", "ingest", "money", "orders", "people", "prices", "shelf"]
