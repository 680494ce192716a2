"""What goes wrong with the broker, and the pika errors that mean it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tinymlaas.contract.errors import Failure

ACCESS_REFUSED, _PRECONDITION_FAILED = 403, 406


class BrokerError(Failure):
    """RabbitMQ refuses what we ask; the same will be refused again."""


class BrokerUnavailable(BrokerError):
    """RabbitMQ does not answer, or not now; the same may work later."""

    retryable = True


class NotRouted(BrokerError):
    """A message was published to where no queue takes it."""


class NotAllowed(BrokerError):
    """RabbitMQ does not give our user leave for this."""


@contextlib.contextmanager
def errors(what: str) -> Iterator[None]:
    """Turn pika's errors into ours, here at the edge.

    Raises:
        NotRouted: no queue takes the message.
        BrokerUnavailable: the connection is gone, or the broker refused a message for now.
        NotAllowed: our user may not do that.
        BrokerError: the broker refused and will again: credentials, arguments, names.
    """
    from pika import exceptions
    from pika.adapters.utils.connection_workflow import (
        AMQPConnectionWorkflowFailed,
        AMQPConnectorException,
    )

    try:
        yield
    except exceptions.UnroutableError as error:
        raise NotRouted(f"cannot {what}: no queue takes it") from error
    except exceptions.NackError as error:
        raise BrokerUnavailable(f"cannot {what}: RabbitMQ did not take it (full?)") from error
    except (
        exceptions.ProbableAuthenticationError,
        exceptions.ProbableAccessDeniedError,
        exceptions.AuthenticationError,
    ) as error:
        raise BrokerError(
            f"cannot {what}: RabbitMQ does not let us in; check TINYMLAAS_AMQP_URL"
        ) from error
    except exceptions.ChannelClosedByBroker as error:
        if error.reply_code == ACCESS_REFUSED:
            raise NotAllowed(f"cannot {what}: {error.reply_text}") from error
        remedy = ""
        if error.reply_code == _PRECONDITION_FAILED:  # as another version of ours has made it
            remedy = "; delete that when it is empty, and it is made anew"
        raise BrokerError(f"cannot {what}: {error.reply_text}{remedy}") from error
    except (AMQPConnectorException, AMQPConnectionWorkflowFailed) as error:  # no AMQPError of pika
        raise BrokerUnavailable(
            f"cannot {what}: what answers there does not speak AMQP, or not in time; "
            "check TINYMLAAS_AMQP_URL"
        ) from error
    except (exceptions.AMQPError, OSError) as error:
        said = str(error) or type(error).__name__
        raise BrokerUnavailable(f"cannot {what}: RabbitMQ is not reached ({said})") from error
