"""How Sphinx builds the gallery from what `tools/site.py` writes; see `make site`."""

project = "Classic results of training neural networks"
author = ""
extensions = ["myst_parser", "sphinx_design"]
myst_enable_extensions = ["colon_fence"]
html_theme = "furo"
html_title = "Training recipes"
html_static_path = ["_static"]
html_extra_path = ["extra"]  # one-file copies, notebooks, figures for slides
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_copy_source = False
html_show_copyright = False
html_show_sourcelink = False
html_theme_options = {"top_of_page_buttons": []}
pygments_style, pygments_dark_style = "a11y-high-contrast-light", "a11y-high-contrast-dark"
language = "en"
smartquotes = False  # "--paper" is a flag
