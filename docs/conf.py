"""Settings of the documentation; ``make docs`` builds it."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

from fullwell import __version__  # noqa: E402

project = "fullwell"
author = "the fullwell developers"
copyright = "the fullwell developers, BSD-3-Clause"
version = release = __version__

extensions = [
    "reference",  # pages made from the code, in _ext
    "mathml",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_nb",
]
exclude_patterns = ["_build", "_ext", "examples", "generated/parts", "**.ipynb_checkpoints"]
templates_path: list[str] = []
default_role = "py:obj"

autodoc_member_order = "bysource"
autodoc_default_options = {"exclude-members": "model_config"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

myst_enable_extensions = ["deflist", "dollarmath", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / "notebooks")
nb_execution_raise_on_error = True
nb_execution_timeout = 180
nb_merge_streams = True

html_math_renderer = "mathml"
myst_update_mathjax = False
html_theme = "pydata_sphinx_theme"
html_title = f"fullwell {release}"
html_static_path = ["_static"]
html_css_files = ["fullwell.css"]
html_show_sourcelink = False
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "header_links_before_dropdown": 7,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
    "pygments_dark_style": "github-dark",
}
FLAT = "index conventions reduce repository pipeline cameras recipes ptc emva1288 commands variance products simulate"
MORE = ["ARCHITECTURE", "CONTRIBUTING", "CHANGELOG", "performance", "notebooks/*"]
html_sidebars: dict[str, list[str]] = {page: [] for page in [*FLAT.split(), *MORE]}  # pages without pages below them
html_context = {"default_mode": "auto"}
