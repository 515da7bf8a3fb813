"""The text of HTML: what a person reads in it whose mail program runs no scripts and loads no pictures.

It serves searches (text.py) and previews (preview.py). It is no parser of HTML and makes no tree: a few passes of
regular expressions that never go back, so that its time grows linearly with whatever is in the source. What a style
sheet hides is text here.
"""

import html
import re

# Elements whose content nobody sees; one that is never closed goes on to the end, as in browsers. <head> is none of
# them: browsers show words in it, and many mails do not close it. <noscript> is read where scripts do not run.
_UNSEEN = re.compile(r"<!--.*?(?:-->|\Z)|<(style|script|title|template)\b.*?(?:</\1[^<>]*+>|\Z)", re.I | re.S)
# The same in two halves, for text that comes in pieces (longtext.py): how it begins, and how it ends by what began it.
UNSEEN_BEGINS = re.compile(r"<!--|<(style|script|title|template)\b", re.I)
UNSEEN_ENDS = {
    name: re.compile(rf"</{name}[^<>]*+>" if name else "-->", re.I)
    for name in ("", "style", "script", "title", "template")
}
SPACE = re.compile(r"[ \t\r\n\f]+")
# Elements that begin a line. The attribute values that hold < or > are too rare to be worth a slower expression.
BREAK = re.compile(
    r"</?(?:address|article|aside|blockquote|body|br|center|dd|div|dl|dt|fieldset|footer|form|h[1-6]|head|header|hr|html"
    r"|li|main|nav|ol|option|p|pre|section|select|table|tbody|td|tfoot|th|thead|tr|ul)\b[^<>]*+>",
    re.I,
)
ALTERNATIVE = re.compile(r"<img\b[^<>]{0,1000}?\balt *= *(?:\"([^\"<>]*+)\"|'([^'<>]*+)')[^<>]*+>", re.I)
TAG = re.compile(r"<[/!?a-z][^<>]*+(?:>|\Z)", re.I)  # one that is cut off at the end is no text either
CLOSED_TAG = re.compile(r"<[/!?a-z][^<>]*+>", re.I)
BREAKS = re.compile(r"(?<! ) *+\n[ \n]*+")


def visible(source: str, most: int | None = None) -> str:
    """The text that a reader of this HTML sees, line by line; of pictures their alternative text. With `most`, the
    beginning alone: so many characters of it, its character references not counted as one. Never raises."""
    if "<" in source:
        source = SPACE.sub(" ", _UNSEEN.sub("", source))
        source = TAG.sub("", ALTERNATIVE.sub(r"\1\2", BREAK.sub("\n", source)))
    source = source[:most]
    if "&" in source:
        source = html.unescape(source).replace("\0", "")
    return BREAKS.sub("\n", source).strip(" \n")
