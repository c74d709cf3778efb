"""Passwords for Amazon's servers: tokens of AWS IAM, each good for 15 minutes and signed by botocore.

Nobody is asked for a token: it is a request that is signed here, with the credentials that botocore finds (variables,
a profile, the role of a container or a machine), and that the server has verified.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

from .config import StorageURL
from .errors import ConfigurationError

__all__ = ["elasticache_password", "elasticache_password_for", "rds_password", "rds_password_for"]

_SECONDS: Final = 900
"""How long a token may be connected with; the most that AWS allows. An open connection outlives it."""

_YES: Final = frozenset({"true", "yes", "on", "1"})
"""Whatever else a URL says of a verification may mean no."""

_RDS_HOST: Final = re.compile(r"\.([a-z]{2}(?:-[a-z]+)+-\d+)\.rds\.amazonaws\.com(?:\.cn)?$")


def rds_password(
    host: str, port: int, user: str, *, region: str | None = None, session: Any = None
) -> Callable[[], str]:
    """Return a provider of passwords for a user of Amazon RDS or Aurora that is authenticated by IAM.

    Args:
        host: the endpoint, as AWS calls it: a token is good for this name alone, and not for an alias of it.
        port: of the endpoint.
        user: of the database, who has the role ``rds_iam`` (PostgreSQL) or ``AWSAuthenticationPlugin`` (MySQL).
        region: of the database; by default the one in the host's name, then ``AWS_REGION`` and what botocore knows.
        session: a ``botocore.session.Session``; by default a new one.

    Raises:
        ConfigurationError: the extra ``aws`` is not installed, or no region is known.
    """
    session = _session(session)
    found = _RDS_HOST.search(host.lower())
    where = _region(region or (found[1] if found else None), session)
    lock = threading.Lock()
    clients: list[Any] = []

    def token() -> str:
        # Made with the first connection: it may have to ask the machine for its role.
        with lock:
            if not clients:
                clients.append(session.create_client("rds", region_name=where))
        signed: str = clients[0].generate_db_auth_token(
            DBHostname=host, Port=port, DBUsername=user, Region=where
        )
        return signed

    return token


def elasticache_password(
    cache: str, user: str, *, region: str | None = None, serverless: bool = False, session: Any = None
) -> Callable[[], str]:
    """Return a provider of passwords for a user of Amazon ElastiCache that is authenticated by IAM.

    Args:
        cache: the name of the replication group, or of the serverless cache; no endpoint.
        user: whose id and name are the same, as ElastiCache wants it.
        region: of the cache; by default ``AWS_REGION``, then what botocore knows.
        serverless: whether it is a serverless cache.
        session: a ``botocore.session.Session``; by default a new one.

    Raises:
        ConfigurationError: the extra ``aws`` is not installed, or no region is known.
    """
    session = _session(session)
    where = _region(region, session)
    asked = {"Action": "connect", "User": user}
    if serverless:
        asked["ResourceType"] = "ServerlessCache"
    request = {
        "method": "GET",
        # ElastiCache's names are in lower case, and so is what the server has verified.
        "url": f"https://{cache.lower()}/?{urlencode(asked)}",
        "body": {},
        "headers": {},
        "context": {},
    }
    lock = threading.Lock()

    def token() -> str:
        from botocore.model import ServiceId
        from botocore.signers import RequestSigner

        with lock:  # a session's search for credentials is one thread's
            signer = RequestSigner(
                ServiceId("elasticache"),
                where,
                "elasticache",
                "v4",
                session.get_credentials(),
                session.get_component("event_emitter"),
            )
            signed: str = signer.generate_presigned_url(
                request, operation_name="connect", expires_in=_SECONDS, region_name=where
            )
        return signed.removeprefix("https://")

    return token


def rds_password_for(url: StorageURL) -> Callable[[], str]:
    """Return `rds_password` for the server and user of a URL.

    Raises:
        ConfigurationError: the URL names no host or no user, or its connections would not verify whom they hand the
            token to; and as `rds_password`.
    """
    postgres = url.scheme.startswith("postgres")
    if postgres:
        verified = url.query.get("sslmode") == "verify-full"
        remedy = "sslmode=verify-full"
    else:
        verified = bool({"ssl_ca", "ssl_capath"} & set(url.query)) and all(
            url.query.get(name, "true").lower() in _YES
            for name in ("ssl_verify_identity", "ssl_verify_cert", "ssl_check_hostname")
        )
        remedy = "ssl_ca=…"
    if not verified:
        raise ConfigurationError(
            f"{url}: a token of aws-rds goes to a server that is verified alone: {remedy} in the URL"
        )
    if not url.host or not url.username:
        raise ConfigurationError(f"{url}: aws-rds needs a host and a user in the URL")
    return rds_password(url.host, url.port or (5432 if postgres else 3306), url.username)


def elasticache_password_for(url: StorageURL, cache: str, *, serverless: bool) -> Callable[[], str]:
    """Return `elasticache_password` for the user of a URL.

    Raises:
        ConfigurationError: the URL names no user, or its connections would not verify whom they hand the token to;
            and as `elasticache_password`.
    """
    verified = url.scheme.partition("+")[0] in ("rediss", "valkeys") and (
        url.query.get("ssl_cert_reqs", "required") == "required"
        and url.query.get("ssl_check_hostname", "true").lower() in _YES
    )
    if not verified:
        raise ConfigurationError(
            f"{url}: a token of aws-elasticache goes to a server that is verified alone: rediss:// in the URL"
        )
    if not url.username:
        raise ConfigurationError(f"{url}: aws-elasticache needs a user in the URL")
    return elasticache_password(cache, url.username, serverless=serverless)


def _session(session: Any) -> Any:
    try:
        import botocore.session
    except ImportError:
        raise ConfigurationError(
            "a token of AWS IAM needs botocore, which is not installed: pip install 'pytest-aistorage[aws]'"
        ) from None
    return botocore.session.get_session() if session is None else session


def _region(region: str | None, session: Any) -> str:
    found = region or os.environ.get("AWS_REGION") or session.get_config_variable("region")
    if not found:
        raise ConfigurationError("a token of AWS IAM needs a region: set AWS_REGION")
    return str(found)
