"""The status page: how the farm stands, for people; read-only. See docs/status-page.md."""
