"""RabbitMQ and an S3 server of our own, on free ports, with all their state in one folder.

For `tinymlaas farm up --private` and for the tests. Real servers, not stand-ins: Debian's RabbitMQ
and SeaweedFS from PyPI. They listen on 127.0.0.1 only and end with the process that started them.
"""
