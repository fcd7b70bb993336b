# Every target does its own set-up: a fresh checkout needs nothing but `make`.
# Without make, scripts/bootstrap and the last line of a target do the same.
.DEFAULT_GOAL := help
.PHONY: help demo test coverage lint types layers check docs wheel bench lock clean
bin := .venv/bin

help: ## what can be made
	@sed -n 's/^\([a-z0-9]*\): .*## /\1\t/p' Makefile

demo: ## real cards for real-shaped patients, then the running service
	sh scripts/bootstrap run
	$(bin)/dekacard demo

test: ## the whole test suite
	sh scripts/bootstrap test
	sh scripts/run-tests

coverage: ## branches and lines that the tests take, part by part, against what is promised (long)
	sh scripts/bootstrap test
	$(bin)/python scripts/coverage_gate.py

lint: ## style and layout of the source
	sh scripts/bootstrap test
	$(bin)/ruff check .
	$(bin)/ruff format --check .

types: ## mypy, strict
	sh scripts/bootstrap test
	$(bin)/mypy

layers: ## who may import whom
	sh scripts/bootstrap test
	$(bin)/lint-imports

check: lint types layers test ## all of the above

docs: ## build/site: the documentation as a site
	sh scripts/bootstrap test
	NO_MKDOCS_2_WARNING=1 $(bin)/mkdocs build --strict -q

wheel: ## dist/dekacard-*.whl
	sh scripts/bootstrap test
	$(bin)/python -m build --wheel --installer uv --outdir dist .

bench: ## ratios against the yardsticks, as JSON
	sh scripts/bootstrap test
	$(bin)/python -m benchmarks

lock: ## renew uv.lock within the bounds of pyproject.toml
	sh scripts/bootstrap test
	$(bin)/uv lock --upgrade

clean: ## remove what was built here
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
