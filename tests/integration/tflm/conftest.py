from tests.integration.cli.conftest import cli

__all__ = ["cli"]
