from tests.services.fixtures import own_seaweedfs, s3_store  # noqa: F401
