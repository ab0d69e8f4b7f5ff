"""Certificates made when a test runs: one that is right, and the three that administrators meet."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path

import trustme

from lab.faults import Certificate

HERE = ("127.0.0.1", "::1", "localhost")


@cache
def authority() -> trustme.CA:
    """The lab's certificate authority, a new one in every process."""
    return trustme.CA(organization_name="Lab of monitoring-plugins-kodeks")


def write_authority(path: Path) -> Path:
    """Write the authority's certificate as PEM, for clients that shall trust it; returns `path`."""
    authority().cert_pem.write_to_path(str(path))
    return path


@cache
def server_context(kind: Certificate) -> ssl.SSLContext:
    """The TLS context of a server on loopback that shows a certificate of this kind; ValueError for NONE."""
    if kind is Certificate.NONE:
        raise ValueError("plain HTTP has no certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf(kind).configure_cert(context)
    return context


def leaf(kind: Certificate) -> trustme.LeafCert:
    """The certificate and its key."""
    now = datetime.now(timezone.utc)
    if kind is Certificate.EXPIRED:
        return authority().issue_cert(*HERE, not_before=now - timedelta(30), not_after=now - timedelta(1))
    if kind is Certificate.WRONG_NAME:
        return authority().issue_cert("other.example")
    if kind is Certificate.SELF_SIGNED:
        stranger = trustme.CA()
        return trustme.LeafCert(stranger.private_key_pem.bytes(), stranger.cert_pem.bytes(), [])
    return authority().issue_cert(*HERE)
