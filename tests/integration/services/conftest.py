from tests.services.fixtures import own_rabbitmq  # noqa: F401
