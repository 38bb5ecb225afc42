"""What calls cost where nobody said: a price table, and the price of one event by it."""

from ingestion.pricing.prices import NO_PRICES, Prices, price
from ingestion.pricing.table import PriceTableError, Rate, Table, read_table

__all__ = ["NO_PRICES", "PriceTableError", "Prices", "Rate", "Table", "price", "read_table"]
