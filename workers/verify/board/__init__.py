"""Real boards: the harness exported into a firmware, and the other end of its UART."""
