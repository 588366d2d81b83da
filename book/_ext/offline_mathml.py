"""Sphinx math renderer that writes MathML at build time, so formulas need no script and no network.

The translator is the one that docutils ships (`docutils.utils.math.latex2mathml`); Sphinx itself
depends on docutils, so there is nothing to install. A formula that it cannot read is a build
warning with its place, hence an error under `-W`.
"""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import accents, over, tex2mathml
from sphinx.locale import _
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.writers.html import HTML5Translator

logger = logging.getLogger(__name__)

NAMESPACE = "http://www.w3.org/1998/Math/MathML"
# docutils knows `aligned`, not the numbered environments of amsmath that MyST passes through.
_ALIGNED = re.compile(r"\\(begin|end)\{(?:align|gather|split|eqnarray)\*?\}")
_UNWRAPPED = re.compile(r"\\(?:begin|end)\{(?:equation|displaymath|math)\*?\}")
# It knows sized delimiters in their left and right forms only.
_SIZED = re.compile(r"\\(big|Big|bigg|Bigg)(?![A-Za-z])")
# It takes all digits after `\frac` for one argument, TeX the first and the second for two.
_SHORT = re.compile(r"\\([dt]?frac)\s*(\d)\s*(\d)")
# Bars are fences of fixed size unless one of these stands before them.
_SIZED_BAR = re.compile(r"\\(?:left|right|middle|[bB]igg?[lrm]?)\s*(?:\\[lr]?[vV]ert|\\?\|)")
# HTML's named characters, which XML does not know (all but its own five).
_NAMED = re.compile(r"&(?!lt;|gt;|amp;|quot;|apos;|#)\w+;")
_ACCENTS = {*accents.values(), *(over[name][0] for name in ("overline", "widehat", "widetilde"))}


def mathml(tex: str, *, display: bool) -> str:
    """Return one `<math>` element for LaTeX source `tex`, with the source as its `alttext`.

    Raises `docutils.utils.math.MathError` for a command or environment without a translation.
    """
    plain = _UNWRAPPED.sub("", _ALIGNED.sub(r"\\\1{aligned}", tex))
    plain = _SHORT.sub(r"\\\1{\2}{\3}", _SIZED.sub(r"\\\1l", plain)).strip()
    try:
        markup = tex2mathml(plain, as_block=display).replace(f' xmlns="{NAMESPACE}"', "")
    except (AttributeError, IndexError, TypeError) as error:  # as for `&` outside an environment
        raise MathError(f"it is not well-formed ({error})") from error
    tree = ElementTree.fromstring(_NAMED.sub(lambda found: unescape(found[0]), markup))
    for element in list(tree.iter("munderover")):
        _move_subscript(element)
    if not _SIZED_BAR.search(tex):
        for operator in tree.iter("mo"):
            if operator.text in ("|", "\u2016"):
                operator.set("stretchy", "false")
    tree.attrib = {"xmlns": NAMESPACE, "alttext": " ".join(tex.split()), **tree.attrib}
    return ElementTree.tostring(tree, encoding="unicode")


def _move_subscript(element: ElementTree.Element) -> None:
    r"""Turn `\hat x_t` from a letter with t under it (as docutils has it) into a subscript t."""
    base, under, accent = element
    if accent.text not in _ACCENTS:
        return
    letter = ElementTree.Element("mover", {"accent": "true"})
    letter.extend([base, accent])
    element.tag, element[:] = "msub", [letter, under]


def _checked(node: nodes.Element, *, display: bool) -> str:
    try:
        return mathml(node.astext(), display=display)
    except MathError as error:
        # The message names the offending command; the source shows where it stands.
        logger.warning("no MathML for %r: %s", node.astext(), error, location=node)
        return ""


def visit_math(translator: HTML5Translator, node: nodes.math) -> None:
    """Write a formula within a line."""
    translator.body.append(f'<span class="math">{_checked(node, display=False)}</span>')
    raise nodes.SkipNode


def visit_math_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Write a displayed formula, with its number where it has one."""
    translator.body.append(translator.starttag(node, "div", CLASS="math"))
    translator.body.append(_checked(node, display=True))
    if node["number"]:
        translator.body.append(f'<span class="eqno">({get_node_equation_number(translator, node)})')
        translator.add_permalink_ref(node, _("Link to this equation"))
        translator.body.append("</span>")
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer; `html_math_renderer = "mathml"` chooses it."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
