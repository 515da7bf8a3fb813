"""The resolver with real servers: NSD with signed zones, Unbound that validates (RFC 6698 §4, RFC 7672 §2.2)."""

from pathlib import Path

from posthouse.net.dns import NetworkResolver
from posthouse.trust.resolver import Answer, Found, Mx, Tlsa
from system.nameserver import Zone, real_dns

DIGEST = "ab" * 32
ZONES = {
    "signed.test": Zone(
        f"""@ MX 10 mx
        mx A 192.0.2.1
        mx AAAA 2001:db8::1
        _25._tcp.mx TLSA 3 1 1 {DIGEST}
        www CNAME mx
        out CNAME mx.plain.test.
        """
        + "\n".join(f'big TXT "{i} {"x" * 200}"' for i in range(40)),
        signed=True,
    ),
    "plain.test": Zone("@ MX 10 mx\nmx A 192.0.2.2\n_25._tcp.mx TLSA 3 1 1 " + DIGEST),
    "broken.test": Zone("@ MX 10 mx\nmx A 192.0.2.3", broken=True),
}


async def test_what_a_validating_server_says(tmp_path: Path) -> None:
    async with real_dns(tmp_path, ZONES) as server:
        resolver = NetworkResolver(lambda: (server,))
        signed = await resolver.mx("signed.test")
        assert signed == Answer(Found.RECORDS, (Mx(10, "mx.signed.test"),), True, "signed.test", 60)
        assert (await resolver.a("mx.signed.test")).authentic
        assert (await resolver.aaaa("mx.signed.test")).records == ("2001:db8::1",)
        tlsa = await resolver.tlsa("_25._tcp.mx.signed.test")
        assert (tlsa.records, tlsa.authentic) == ((Tlsa(3, 1, 1, bytes.fromhex(DIGEST)),), True)
        assert await resolver.a("www.signed.test") == Answer(Found.RECORDS, ("192.0.2.1",), True, "mx.signed.test", 60)
        missing = await resolver.mx("no.signed.test")
        assert (missing.found, missing.authentic) == (Found.NXDOMAIN, True)
        empty = await resolver.mx("mx.signed.test")
        assert (empty.found, empty.authentic) == (Found.NO_DATA, True)

        out = await resolver.a("out.signed.test")
        assert (out.records, out.authentic, out.name) == (("192.0.2.2",), False, "mx.plain.test")
        plain = await resolver.tlsa("_25._tcp.mx.plain.test")
        assert (len(plain.records), plain.authentic) == (1, False)
        assert (await resolver.mx("broken.test")).found is Found.SERVFAIL
        assert len((await resolver.txt("big.signed.test")).records) == 40, "this comes by TCP"

        stranger = NetworkResolver(lambda: (server._replace(trusted=False),))
        assert not (await stranger.mx("signed.test")).authentic
