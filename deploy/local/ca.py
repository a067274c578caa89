"""The sandbox's own certificate authority; it must never be trusted by anything but a sandbox's clients.

Its dates are real time: TLS knows no business time.
"""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.local.kept import write_private

LIFE = timedelta(days=825)  # the longest that Apple's clients accept
RENEW_BEFORE = timedelta(days=30)
HOST_NAMES = ("localhost",)
ADDRESSES = ("127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """Three PEM files: the CA to trust, the server's chain, and its key (mode 600)."""

    ca_file: Path
    chain_file: Path
    key_file: Path

    def server_context(self) -> ssl.SSLContext:
        """A fresh TLS context for a server on loopback."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.chain_file, self.key_file)
        return context

    def client_context(self) -> ssl.SSLContext:
        """A fresh TLS context that trusts this CA alone."""
        return ssl.create_default_context(cafile=self.ca_file)


def certificates(directory: Path) -> Certificates:
    """The certificates for localhost kept in `directory`; made at the first call, and again in their last 30 days."""
    kept = Certificates(
        ca_file=directory / "ca.pem", chain_file=directory / "server.pem", key_file=directory / "server-key.pem"
    )
    if not _is_fresh(kept.chain_file):
        directory.mkdir(parents=True, exist_ok=True)
        _make(kept)
    return kept


def _is_fresh(chain_file: Path) -> bool:
    if not chain_file.exists():
        return False
    leaf = x509.load_pem_x509_certificate(chain_file.read_bytes())
    return leaf.not_valid_after_utc > datetime.now(UTC) + RENEW_BEFORE


def _make(kept: Certificates) -> None:
    """A CA whose key is forgotten at once, and the one certificate it ever signs; the chain is written last."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Coldstream sandbox CA")])
    ca = (
        _begun(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    names = [*map(x509.DNSName, HOST_NAMES), *(x509.IPAddress(ip_address(address)) for address in ADDRESSES)]
    leaf = (
        _begun(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), ca_name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    kept.ca_file.write_bytes(ca.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_private(kept.key_file, private)
    kept.chain_file.write_bytes(leaf.public_bytes(pem) + ca.public_bytes(pem))


def _begun(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + LIFE)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
