"""mail/html.py: what of HTML a reader sees."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.mail.html import visible

HTML = (
    "<!DOCTYPE html><html><head><title>t</title><style>p { color: red }</style></head><body><p class='a'>One\r\n  two"
    ' &amp; <b>thr</b>ee</p><script>if (1 < 2) {}</script><div>four<br>five<img src=x alt="six"></div><!--no--></body>'
)


def test_visible():
    assert visible(HTML) == "One two & three\nfour\nfivesix"
    assert visible("a < b & c") == "a < b & c"
    assert visible("<style>never closed") == ""
    assert visible("<html><head><title>t</title><body>not closed") == "not closed"
    assert visible("seen<noscript>without scripts</noscript>") == "seenwithout scripts"
    assert visible("words<a href='cut off") == "words"
    assert visible("<p>one<p>two<p>three", most=5) == "one"
    assert visible("&#0;&#xD800;x") == "\ufffd\ufffdx"


@pytest.mark.parametrize(
    "source",
    [
        "<",
        "<a ",
        "<!--",
        "<style",
        "&#32;",
        '<img alt="',
        '<img alt="" ',
        "</",
        "<p",
        " \n",
        "&amp;",
        "<style></style",
        "<head <",
        ">",
    ],
)
def test_visible_takes_linear_time(source):
    start = time.process_time()
    visible(f"<x>{source * 40_000}")
    assert time.process_time() - start < 20


@given(st.text(st.sampled_from("<>!-/ab \"'=&;\n"), max_size=200))
def test_visible_never_raises(source):
    visible(source)
