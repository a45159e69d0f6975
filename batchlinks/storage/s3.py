"""S3, and what speaks like it: a file appears whole or not at all by itself, and folders are but the beginnings of names."""

import errno
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import s3fs
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as AwsConnectionError
from fsspec.exceptions import FSTimeoutError
from s3fs.errors import translate_boto_error

from batchlinks.storage.address import Address, refuse_clear
from batchlinks.storage.folder import Entry
from batchlinks.storage.store import AnyStore, FailureKind, Listing, StorageFailure, clock_ahead_s

_CONNECT_S = 10
_ANSWER_S = 60
_ATTEMPTS = 3
"""By botocore, for each call, with waits between them; s3fs tries that twice."""

_REFUSALS = {
    "ExpiredToken": "the credentials have expired",
    "InvalidAccessKeyId": "the access key is not known there",
    "InvalidToken": "the session token is not valid",
    "RequestTimeTooSkewed": "this computer's clock is wrong",
    "SignatureDoesNotMatch": "the secret key is not the access key's",
}


class S3Store(AnyStore):
    """Credentials, region and endpoint come from where AWS keeps them: environment, profile, role."""

    _ahead_s: float | None = None

    @cached_property
    def files(self) -> s3fs.S3FileSystem:
        settings = {
            "connect_timeout": _CONNECT_S,
            "read_timeout": _ANSWER_S,
            "retries": {"mode": "standard", "total_max_attempts": _ATTEMPTS},
        }
        files = s3fs.S3FileSystem(config_kwargs=settings, skip_instance_cache=True, use_listings_cache=False)
        files.retries = 2
        endpoint = urlsplit(files.s3.meta.endpoint_url)  # as AWS's own settings have it; nothing is asked there yet
        refuse_clear(endpoint.scheme, endpoint.hostname or "", "The address of S3 (AWS_ENDPOINT_URL)")
        return files

    def path_of(self, address: Address) -> str:
        return f"{address.host}{address.path}"

    def is_folder(self, path: str) -> bool:
        """Whether the bucket is there: in it, every folder is, be it empty."""
        self._ask(path)
        return True

    def listing(self, path: str) -> Listing:
        found = super().listing(path)
        ahead = self._clock_ahead(path) if found.files else 0.0
        files = tuple(Entry(entry.name, entry.size, entry.modified - ahead) for entry in found.files)
        return Listing(files, found.folders)

    def can_name(self, name: str) -> bool:
        return super().can_name(name) and "?versionId=" not in name  # s3fs takes that for a version

    def read(self, path: str, at_most: int | None) -> bytes:
        size = self.size_of(path)
        if size is None:
            raise FileNotFoundError
        whole = at_most is None or size <= at_most
        content: bytes = self.files.cat_file(path) if whole else self.files.cat_file(path, start=0, end=at_most)
        if len(content) != (size if whole else at_most):
            raise EOFError  # replaced since, or cut short: never half a list
        return content

    def put(self, content: bytes | Path, path: str, *, mode: int) -> None:  # noqa: ARG002 there are no modes
        if isinstance(content, bytes):
            self.files.pipe_file(path, content)
        else:
            self.files.put_file(str(content), path)

    def move(self, source: str, target: str) -> None:
        """S3 cannot rename. The copy is made only where nothing is, and the source goes when the copy is known to be whole."""
        size = self.size_of(source)
        if size is None:
            raise FileNotFoundError
        if self.size_of(target) is not None:
            raise FileExistsError
        try:
            self.files.cp_file(source, target, IfNoneMatch="*")
        except OSError as error:
            if error.errno != errno.ENOSYS:  # servers that know no conditional copy
                raise
            self.files.cp_file(source, target)
        if self.size_of(target) != size:
            raise OSError("the copy is not as long as what was copied")
        self.files.rm_file(source)

    def remove_tree(self, path: str) -> None:
        for found in self.files.find(path):
            if found.startswith(f"{path}/"):  # a file of the folder's own name is found, too
                self.files.rm_file(found)

    def size_of(self, path: str) -> int | None:
        try:
            found = self.files.info(path, refresh=True)
        except FileNotFoundError:
            return None
        return int(found["size"]) if found["type"] == "file" else None

    def describe_failure(self, error: Exception) -> StorageFailure:
        match error:
            case FileNotFoundError() | TimeoutError():
                return super().describe_failure(error)
            case PermissionError():
                return StorageFailure(FailureKind.REFUSED, _REFUSALS.get(_code_of(error), ""))
            case NoCredentialsError() | PartialCredentialsError() | CredentialRetrievalError():
                return StorageFailure(
                    FailureKind.REFUSED,
                    "there are no credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                )
            case AwsConnectionError() | HTTPClientError() | FSTimeoutError():
                return StorageFailure(FailureKind.UNREACHABLE)
            case ClientError():
                return self.describe_failure(translate_boto_error(error))
            case BotoCoreError():
                return StorageFailure(
                    FailureKind.REFUSED, f"the settings for AWS cannot be used ({type(error).__name__})"
                )
            case OSError() if code := _code_of(error):
                return StorageFailure(FailureKind.FAILED, code)
        return super().describe_failure(error)

    def _clock_ahead(self, path: str) -> float:
        """Seconds. The answer to any question tells the server's time."""

        def server_now() -> float:
            headers = self._ask(path)["ResponseMetadata"]["HTTPHeaders"]
            return parsedate_to_datetime(headers["date"]).timestamp() if "date" in headers else time.time()

        if self._ahead_s is None:
            self._ahead_s = clock_ahead_s(server_now)
        return self._ahead_s

    def _ask(self, path: str) -> Mapping[str, Any]:
        """The smallest question about a folder; who may see no more of the bucket may ask it."""
        bucket, _, key = path.partition("/")
        answer: Mapping[str, Any] = self.files.call_s3(
            "list_objects_v2", Bucket=bucket, Prefix=f"{key}/" if key else "", MaxKeys=1
        )
        return answer


def _code_of(error: BaseException) -> str:
    """S3's own code for what is wrong, such as `AccessDenied`; "" where there is none."""
    response = getattr(error.__cause__, "response", None)
    code = str(response.get("Error", {}).get("Code", "")) if isinstance(response, Mapping) else ""
    return code if code.isalnum() else ""
