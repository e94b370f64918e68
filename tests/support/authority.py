"""A certificate authority of a test's own, and what a server and its clients have of it."""

from pathlib import Path

import trustme

from tests.support.servers import free_port


class Authority:
    """A certificate for some hosts, which serves clients too, and the files that it is in."""

    def __init__(self, folder: Path, *hosts: str) -> None:
        folder.mkdir(exist_ok=True)
        authority = trustme.CA()
        self.ca, self.cert, self.key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
        authority.cert_pem.write_to_path(self.ca)
        issued = authority.issue_cert(*(hosts or ("localhost", "127.0.0.1")))
        issued.private_key_pem.write_to_path(self.key)
        for blob in issued.cert_chain_pems:
            blob.write_to_path(self.cert, append=True)

    def server(self, clients: str) -> list[str]:
        """Arguments of a server that speaks TLS only; `clients` is what it asks of them: `yes` or `no` certificate."""
        port = str(free_port())
        files = ["--tls-cert-file", str(self.cert), "--tls-key-file", str(self.key), "--tls-ca-cert-file", str(self.ca)]
        return ["--tls-port", port, "--tls-auth-clients", clients, *files]
