"""From settings to what signs users in beside their passwords: providers of identities, certificates of clients."""

import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from posthouse.config_login import ClientAuthorities, Provider
from posthouse.config_sections import Settings
from posthouse.net.https import Https, https_context
from posthouse.net.reach import networks
from posthouse.net.tls import CertificateFiles, Certificates, ClientCertificates, NamedBy
from posthouse.serve import oauth
from posthouse.serve.oauth import Tokens
from posthouse.trust.resolver import Resolver
from posthouse.trust.tokens import Rules


def make_tokens(settings: Settings, resolver: Resolver) -> Tokens:
    """Who checks tokens; there is at least one provider. Raises OSError for authorities that cannot be read."""
    return Tokens([_provider(one, resolver) for one in settings.login.providers], time.time)


def _provider(one: Provider, resolver: Resolver) -> oauth.Provider:
    """Hosts that the administrator names may be private, if the settings say so; those that the provider names only
    where they are part of the Internet."""
    context = https_context(Path(one.authorities) if one.authorities else None)
    rules = Rules(one.issuer, frozenset(one.audience), one.user_claim, one.user_domain, one.scope)
    named = Https(resolver, context, networks(one.private_networks))
    return oauth.Provider(rules, named, time.monotonic, one.keys, public=Https(resolver, context))


def server_contexts(settings: Settings) -> Mapping[str, ssl.SSLContext]:
    """The TLS of each service, "" for all that are not named: some ask clients for certificates. Raises
    CertificateError."""
    files = [CertificateFiles(Path(one.certificate), Path(one.key)) for one in settings.tls.certificates]
    return {"": Certificates(files).context, **dict(_asking(files, settings.login.certificates))}


def _asking(
    files: list[CertificateFiles], kinds: tuple[ClientAuthorities, ...]
) -> Iterator[tuple[str, ssl.SSLContext]]:
    for kind in kinds:
        context = Certificates(files, clients_of(kind)).context
        yield from ((service, context) for service in kind.services)


def clients_of(kind: ClientAuthorities) -> ClientCertificates:
    """What is asked of clients."""
    return ClientCertificates(Path(kind.authorities), NamedBy(kind.user))
