"""HTML lies in templates, and none of it in Python."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError

import sourcetracing
from sourcetracing.drawing.templates import macros, render

PACKAGE = Path(sourcetracing.__file__).parent
TEMPLATES = sorted(PACKAGE.rglob("*.html"))


def test_no_module_spells_html():
    tags = ("</", "<img", "<br", "<input", "html import escape")
    found = [str(path) for path in PACKAGE.rglob("*.py") if any(tag in path.read_text(encoding="utf-8") for tag in tags)]
    assert found == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_can_be_read_and_lies_where_the_package_takes_it_along(path):
    assert path.parent.name == "templates" and (path.parent.parent / "__init__.py").is_file()
    if path.name not in ("page.html", "explore.html", "case.html"):  # whole pages want their values
        macros(str(path.parent.parent / "module.py"), path.name)


def test_a_value_that_is_not_given_is_an_error(tmp_path):
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "a.html").write_text("<p>{{ text }}</p>")
    assert render(str(tmp_path / "module.py"), "a.html", text="1 < 2") == "<p>1 &lt; 2</p>"
    with pytest.raises(UndefinedError, match="text"):
        render(str(tmp_path / "module.py"), "a.html")
