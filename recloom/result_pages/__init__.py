"""The Markdown pages of results, each made of what the files hold; they read and write nothing."""

from recloom.result_pages.cells import GENERATED
from recloom.result_pages.lists import table_of_lists
from recloom.result_pages.measured import COLUMNS, table
from recloom.result_pages.speed import table_of_speed
from recloom.result_pages.variants import table_of_variants

__all__ = ["COLUMNS", "GENERATED", "table", "table_of_lists", "table_of_speed", "table_of_variants"]
