"""Writes README.rst and static/description/index.html from the fragments in readme/.

With --check nothing is written, and what is not current is an error.
"""

import sys
from pathlib import Path

from docutils.core import publish_parts

ROOT = Path(__file__).resolve().parent.parent
# What somebody who looks for an app wants to know.
PAGE_FRAGMENTS = ("description", "usage")
PAGE = """\
<section class="oe_container">
<div class="oe_row oe_spaced">
{body}</div>
</section>
"""
# Fonts, colours and tables are those of the page that shows it.
SETTINGS = {"initial_header_level": 2, "doctitle_xform": False}


def main():
    """Write the files, or check them; return the exit status."""
    fragments = {
        path.stem.partition("_")[2]: path.read_text(encoding="utf-8")
        for path in sorted((ROOT / "readme").glob("*.rst"))
    }
    texts = {
        "README.rst": "\n".join(fragments.values()),
        "static/description/index.html": make_page(fragments),
    }
    if "--check" not in sys.argv[1:]:
        for name, text in texts.items():
            (ROOT / name).write_text(text, encoding="utf-8")
        return 0
    stale = [
        name for name, text in texts.items() if (ROOT / name).read_text(encoding="utf-8") != text
    ]
    if stale:
        print(f"not as in readme/: {', '.join(stale)}; make readme writes them")
    return 1 if stale else 0


def make_page(fragments):
    """Return the app's page, whose pictures lie beside it."""
    text = "\n".join(fragments[name] for name in PAGE_FRAGMENTS)
    text = text.replace("static/description/", "")
    parts = publish_parts(text, writer="html5", settings_overrides=SETTINGS)
    body = parts["body"].replace("<table>", '<table class="table table-sm">')
    return PAGE.format(body=body)


if __name__ == "__main__":
    sys.exit(main())
