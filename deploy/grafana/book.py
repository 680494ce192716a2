"""All dashboards."""

from deploy.grafana import life, overview, pool, reliability, tenants
from deploy.grafana.panel import Book

BOOK = Book((overview.BOARD, pool.BOARD, tenants.BOARD, life.BOARD, reliability.BOARD))
