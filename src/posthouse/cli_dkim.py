"""The command line: `posthouse domain dkim`."""

from cyclopts import App

from posthouse.cli_parts import HERE, Json, Place, do

dkim_app = App(name="dkim", help="The keys by which mail of a domain is signed (DKIM), and their records in the DNS.")


@dkim_app.command(name="add")
def dkim_add(domain: str, /, *, place: Place = HERE) -> int:
    """Make keys for a domain, and show the records to publish."""
    from posthouse import domainkeys

    return do(place, lambda store: domainkeys.add(store, domain, domainkeys.host(place)))


@dkim_app.command(name="show")
def dkim_show(domain: str | None = None, /, *, place: Place = HERE, as_json: Json = False) -> int:
    """Show the keys of a domain, or of all, with the records to publish."""
    from posthouse import domainkeys

    return do(place, lambda store: domainkeys.show_keys(store, domain, as_json=as_json))


@dkim_app.command(name="check")
def dkim_check(domain: str | None = None, /, *, place: Place = HERE, as_json: Json = False) -> int:
    """Look at once whether the records are in the DNS; keys whose records are seen begin to sign."""
    from posthouse import domainkeys

    return do(place, lambda store: domainkeys.check(store, domain, domainkeys.resolver_of(place), as_json=as_json))


@dkim_app.command(name="rotate")
def dkim_rotate(domain: str, /, *, place: Place = HERE) -> int:
    """Make new keys; the old ones sign until the records of the new ones are seen in the DNS."""
    from posthouse import domainkeys

    return do(place, lambda store: domainkeys.rotate(store, domain))


@dkim_app.command(name="remove")
def dkim_remove(domain: str, selector: str | None = None, /, *, yes: bool = False, place: Place = HERE) -> int:
    """Forget the keys of a domain, or one of them.

    Parameters
    ----------
    selector
        Only this one, as `show` names it.
    yes
        Do not ask.
    """
    from posthouse import domainkeys

    return do(place, lambda store: domainkeys.remove(store, domain, selector, sure=yes))
