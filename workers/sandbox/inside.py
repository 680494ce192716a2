"""Functions that jobs call to show that they run."""


def nothing() -> None:
    """Return at once."""
