"""What a signer may sign: statements of its own builder about its own compiler's modules."""

from __future__ import annotations

from dataclasses import dataclass

from storage import dsse
from storage.provenance import PAYLOAD_TYPE, Statement, decode_statement, encode_statement
from tinymlaas.contract.errors import Rejection, VerificationError

_KIND = PAYLOAD_TYPE.encode()
_HEAD = b"DSSEv1 %d %b " % (len(_KIND), _KIND)


class NotSigned(Rejection):
    """A signer has no leave to sign this."""


@dataclass(frozen=True)
class Leave:
    """`builder` is whose statements are signed, `compiler` whose modules (None: anybody's)."""

    builder: str
    compiler: str | None = None

    def check(self, data: bytes) -> Statement:
        """Return the statement in `data` if it may be signed.

        Raises:
            NotSigned: it may not; says what of it is not as it must be.
        """
        payload = _payload(data)
        try:
            statement = decode_statement(payload)
            _ = statement.archive_digest, statement.manifest_digest  # exactly one of each
        except VerificationError as error:
            raise NotSigned(*error.reasons) from None
        if encode_statement(statement) != payload:
            raise NotSigned("the statement says more than, or not as, statements of ours do")
        self._check_identity(statement)
        return statement

    def _check_identity(self, statement: Statement) -> None:
        predicate = statement.predicate
        builder = predicate.run_details.builder.id
        if builder != self.builder:
            raise NotSigned(f"the builder is {builder[:100]!a}, and this signs for {self.builder}")
        if self.compiler is None:
            return
        definition = predicate.build_definition
        named = {
            definition.internal_parameters.compiler.name,
            definition.external_parameters.compiler,
        }
        if named != {self.compiler}:
            other = sorted(named - {self.compiler})[0]
            raise NotSigned(
                f"the compiler is {other[:100]!a}, and this signs for {self.compiler} alone"
            )


def _payload(data: bytes) -> bytes:
    """Return the payload in a DSSE pre-authentication encoding of our payload type."""
    if not data.startswith(_HEAD):
        raise NotSigned("it is no provenance statement to be signed as DSSE asks")
    payload = data[len(_HEAD) :].partition(b" ")[2]
    if dsse.pae(PAYLOAD_TYPE, payload) != data:
        raise NotSigned("its DSSE encoding is malformed")
    return payload
