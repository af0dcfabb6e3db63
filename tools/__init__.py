"""Tools: tables, regression, copies, notebooks, the gallery, workers."""
