from tests.services.fixtures import s3_store  # noqa: F401
