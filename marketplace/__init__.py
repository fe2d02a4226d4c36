"""Selling aged leads: inventory by class and age, all-or-nothing purchase, pricing, safe exports."""
