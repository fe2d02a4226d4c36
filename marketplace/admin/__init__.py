"""The marketplace in the staff console, one module per room. A module is named here as soon as its file stands."""

from marketplace.admin import buyers, catalogue, ingest, money, orders, people, prices, shelf

__all__ = ["buyers", "catalogue", "ingest", "money", "orders", "people", "prices", "shelf"]
