# Every target makes .venv and installs into it on its first call; later calls start at once.
PYTHONS ?= python3 python3.13 python3.12 python3.11
VENV := .venv
PYTHON := $(VENV)/bin/python
WORKERS ?= 2
INSTALLED := $(VENV)/.installed
FILES := $(filter-out %/__init__.py,$(wildcard recipes/*/*.py))
NAMES := $(subst _,-,$(basename $(notdir $(FILES))))

.DEFAULT_GOAL := help
# There are folders called site and notebooks.
.PHONY: help list record-all regress test test-backends test-notebooks test-site lint bench readme \
  site notebooks install-gpu clean
.SUFFIXES:

help:
	@echo 'make list                         the recipes by chapter, one line and one time each'
	@echo 'make recipe-NAME [ARGS="..."]     run one; ARGS="--help" lists its flags'
	@echo 'make workers-NAME [WORKERS=2]     run one by several processes, as on several machines'
	@echo 'make copy-NAME DEST=DIR           the recipe as one file of stock Keras (FORCE=1 FULL=1)'
	@echo 'make notebook-NAME DEST=DIR       the same as a Jupyter notebook (FORCE=1)'
	@echo 'make notebooks [DEST=DIR]         one for each recipe, in notebooks/ (FORCE=1)'
	@echo 'make regress [RECIPES="..."]      all findings, and what moved since they were recorded'
	@echo 'make test                         all tests but the three below, on real data where it is found'
	@echo 'make test-backends                recipes on JAX, copies on JAX and PyTorch'
	@echo 'make test-notebooks               all notebooks, each run'
	@echo 'make site                         the gallery, in site/index.html'
	@echo 'make test-site                    the gallery in Chromium'
	@echo 'make lint                         ruff: format and rules'
	@echo 'make bench [ARGS=--record]        speed beside Keras, PyTorch, JAX and NumPy (to docs/)'
	@echo 'make record-NAME [ARGS=--paper]   run one, say what moved, keep its results in docs/'
	@echo 'make record-all                   the same for all that have no record yet'
	@echo 'make readme                       write the tables of README.md anew'
	@echo 'make install-gpu                  TensorFlow with CUDA, for machines with a GPU'
	@echo 'make clean                        remove .venv, caches, site and notebooks (results stay)'

$(INSTALLED): requirements.lock
	@for python in $(PYTHONS); do \
	  if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; \
	  then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo 'expected Python 3.11, 3.12 or 3.13 (Keras 3.15 needs it), found none of: $(PYTHONS);' \
	       'install one, or name it: make PYTHONS=/path/to/python3.12' >&2; exit 2; \
	fi; \
	echo "Installing into $(VENV) with $$($$found --version) (once, one to two minutes)"; \
	$$found -m venv $(VENV) && \
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

list: $(INSTALLED)
	@$(PYTHON) -m tools.catalog list

recipe-%: $(INSTALLED)
	@if [ -z "$(filter %/$(subst -,_,$*).py,$(FILES))" ]; then \
	  echo "expected one of the recipes: $(NAMES); received: $*" >&2; exit 2; \
	fi
	@$(PYTHON) -m $(subst /,.,$(basename $(filter %/$(subst -,_,$*).py,$(FILES)))) $(ARGS)

workers-%: $(INSTALLED)
	@$(PYTHON) -m tools.workers $(subst -,_,$*) $(WORKERS) $(ARGS)

copy-%: $(INSTALLED)
	@$(PYTHON) -m tools.copying script '$*' '$(DEST)' $(if $(FORCE),--force) $(if $(FULL),--full)

notebook-%: $(INSTALLED)
	@$(PYTHON) -m tools.copying notebook '$*' '$(DEST)' $(if $(FORCE),--force) $(if $(FULL),--full)

notebooks: $(INSTALLED)
	@$(PYTHON) -m tools.notebooks $(if $(DEST),'$(DEST)') $(if $(FORCE),--force) $(ARGS)

regress: $(INSTALLED)
	@$(PYTHON) -m tools.regress $(RECIPES) $(ARGS)

record-all: $(INSTALLED)
	@$(PYTHON) -m tools.catalog record-all $(ARGS)

record-%: $(INSTALLED)
	@$(PYTHON) -m tools.catalog record $(subst -,_,$*) $(ARGS)

readme: $(INSTALLED)
	@$(PYTHON) -m tools.catalog readme

test: $(INSTALLED)
	@$(PYTHON) -m pytest -n 2 --dist worksteal $(ARGS)

test-backends: $(INSTALLED) $(VENV)/.installed-bench
	@$(PYTHON) -m pytest tests/backends $(ARGS)

test-notebooks: $(INSTALLED)
	@$(PYTHON) -m pytest -n 2 --dist worksteal tests/notebooks $(ARGS)

test-site: $(INSTALLED) $(VENV)/.installed-site
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { \
	  echo 'expected chromium and chromedriver (on Debian: apt-get install chromium-driver),' \
	       'received none' >&2; exit 2; }
	@$(PYTHON) -m pytest tests/site $(ARGS)

site: $(INSTALLED) $(VENV)/.installed-site
	@$(PYTHON) -m tools.site $(ARGS)

lint: $(INSTALLED)
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .

bench: $(INSTALLED) $(VENV)/.installed-bench
	@$(PYTHON) -m tests.benchmarks $(ARGS)

$(VENV)/.installed-bench: requirements-bench.txt $(INSTALLED)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@

$(VENV)/.installed-site: requirements-site.lock $(INSTALLED)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-site.lock
	@touch $@

install-gpu: $(INSTALLED)
	@$(PYTHON) -m pip install --disable-pip-version-check -r requirements-gpu.txt

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis site notebooks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
