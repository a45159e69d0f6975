"""A connection by SSH that takes the settings, keys and known hosts of `ssh`, and talks to no server that it does not know."""

import getpass
import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import paramiko

from batchlinks.config.secrets import read_secret
from batchlinks.errors import FolderError, SettingsError
from batchlinks.storage.address import Address

_PATIENCE_S = 30.0
"""For each step of connecting."""

_STILL_THERE_S = 20
"""After so long a silence the server is asked whether it is still there, so that no firewall forgets the connection."""

_SETTINGS = ("~/.ssh/config", "/etc/ssh/ssh_config")
_KNOWN_HOSTS = ("~/.ssh/known_hosts ~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2")
_LOG = "batchlinks.ssh"
"""Where paramiko's own words go: nowhere, since they may name files."""

logging.getLogger(_LOG).addHandler(logging.NullHandler())
logging.getLogger(_LOG).propagate = False


class NoConnection(FolderError):
    """The server does not answer, or is no SSH server. Another try may get through."""


class _Unknown(paramiko.SSHException):
    """The server's key is not among those that are known here."""

    def __init__(self, key: paramiko.PKey) -> None:
        self.key = key
        super().__init__("unknown host key")


class _AcceptNew(paramiko.MissingHostKeyPolicy):
    """Where the settings for SSH say so, of this host or of all: the first key that is seen is kept, as `ssh` does."""

    def __init__(self, known_hosts: Path) -> None:
        self._known_hosts = known_hosts

    def missing_host_key(self, _client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        with suppress(OSError), self._known_hosts.open("a", encoding="ascii") as file:
            file.write(f"{hostname} {key.get_name()} {key.get_base64()}\n")


class _OnlyKnown(paramiko.MissingHostKeyPolicy):
    def missing_host_key(self, _client: paramiko.SSHClient, _hostname: str, key: paramiko.PKey) -> None:
        raise _Unknown(key)


def connect(address: Address) -> paramiko.SSHClient:
    """Signed in to the server of a known host key.

    Raises FolderError when it is unknown or has another key, refuses the sign-in, or cannot be reached; SettingsError when
    the user's settings for SSH cannot be used.
    """
    settings = _settings(address.host)
    host = str(settings.get("hostname", address.host))
    port = address.port or int(settings.get("port", 22))
    only_named = settings.get("identitiesonly") == "yes"
    alias, alias_port = str(settings.get("hostkeyalias", host)), port
    if "hostkeyalias" in settings:
        alias_port = paramiko.config.SSH_PORT  # known_hosts has an alias without a port
    client = paramiko.SSHClient()
    client.set_log_channel(_LOG)
    accepts_new = settings.get("stricthostkeychecking") in ("accept-new", "no", "off")
    client.set_missing_host_key_policy(_AcceptNew(_first_known_hosts(settings)) if accepts_new else _OnlyKnown())
    _load_known_hosts(client.get_host_keys(), settings)
    try:
        client.connect(
            alias,
            alias_port,
            username=address.user or settings.get("user") or getpass.getuser(),
            password=read_secret("BATCHLINKS_SFTP_PASSWORD", in_keyring=False) or None,
            key_filename=[path for path in settings.get("identityfile", []) if Path(path).is_file()],  # type: ignore[arg-type] # it takes lists
            look_for_keys=not only_named,
            allow_agent=not only_named,
            timeout=_PATIENCE_S,
            banner_timeout=_PATIENCE_S,
            auth_timeout=_PATIENCE_S,
            channel_timeout=_PATIENCE_S,
            sock=_line_to(host, port, settings),
            transport_factory=_transport_for(client.get_host_keys(), alias, alias_port),
        )
    except Exception as error:
        client.close()
        raise _describe(error, address.origin, host, port) from error
    transport = client.get_transport()
    assert transport is not None  # noqa: S101 - it was just made
    transport.set_keepalive(_STILL_THERE_S)
    return client


def _settings(host: str) -> Mapping[str, Any]:
    """What the user's and the computer's settings for SSH say of a host; the user's come first."""
    config = paramiko.SSHConfig()
    try:
        for path in map(Path.expanduser, map(Path, _SETTINGS)):
            with suppress(FileNotFoundError), path.open(encoding="utf-8") as file:
                config.parse(file)
        return config.lookup(host)
    except (OSError, UnicodeDecodeError, paramiko.SSHException, ImportError) as error:
        raise SettingsError(f"The settings for SSH ({' or '.join(_SETTINGS)}) cannot be used.") from error


def _load_known_hosts(keys: paramiko.HostKeys, settings: Mapping[str, Any]) -> None:
    user, computer = _KNOWN_HOSTS
    named = f"{settings.get('userknownhostsfile', user)} {settings.get('globalknownhostsfile', computer)}"
    for name in named.split():
        try:
            keys.load(os.path.expanduser(name))  # noqa: PTH111 the `none` of ssh is no path
        except OSError:
            continue
        except Exception as error:  # paramiko has several for lines that it cannot read
            raise SettingsError(f"{name} has a line that is no host key. Correct it.") from error


def _first_known_hosts(settings: Mapping[str, Any]) -> Path:
    """Where a new key is kept."""
    return Path(str(settings.get("userknownhostsfile", _KNOWN_HOSTS[0])).split()[0]).expanduser()


def _line_to(host: str, port: int, settings: Mapping[str, Any]) -> Any:
    """A socket to the server, or what stands for one: the program that the settings name as the way there."""
    command = settings.get("proxycommand")
    if command is None and (jump := settings.get("proxyjump", "none")) != "none":
        command = f"ssh -o BatchMode=yes -W [{host}]:{port} {jump}"
    if command is not None and command != "none":
        return paramiko.ProxyCommand(command)
    return socket.create_connection((host, port), _PATIENCE_S)


def _transport_for(known: paramiko.HostKeys, alias: str, port: int) -> Callable[..., paramiko.Transport]:
    """Makes connections that ask the server for a key of a kind that is known for it, as `ssh` does.

    Asked for any, a server may show a key of another kind, and be taken for a stranger.
    """
    kinds = set(known.lookup(alias if port == paramiko.config.SSH_PORT else f"[{alias}]:{port}") or ())

    def transport(*given: Any, **options: Any) -> paramiko.Transport:
        made = paramiko.Transport(*given, **options)
        algorithms = made.get_security_options()
        wanted = [each for each in algorithms.key_types if ("ssh-rsa" if each.startswith("rsa-") else each) in kinds]
        if wanted:
            algorithms.key_types = wanted
        return made

    return transport


def _describe(error: Exception, origin: str, host: str, port: int) -> FolderError:
    match error:
        case _Unknown(key=key):
            return FolderError(
                f"{origin} is not known to this computer (its key is {key.fingerprint}). Compare the key with what those who "
                f"run it say, then add it: ssh-keyscan -p {port} {host} >> ~/.ssh/known_hosts"
            )
        case paramiko.BadHostKeyException() | paramiko.ssh_exception.IncompatiblePeer():
            return FolderError(
                f"{origin} shows another key than the one that known_hosts has for it. Either it was given a new one, or "
                "somebody stands in between: nothing was sent. Ask those who run it."
            )
        case paramiko.AuthenticationException():
            refused = True
        case paramiko.SSHException():
            refused = "No authentication methods" in str(error)
        case _:
            refused = False
    if refused:
        return FolderError(
            f"{origin} refuses the sign-in. Check the user name and the key (SSH agent, ~/.ssh/config, ~/.ssh/id_…), or set "
            "BATCHLINKS_SFTP_PASSWORD."
        )
    return NoConnection(f"{origin} cannot be reached by SSH. Check the address, the port and the network.")
