# Needs Python 3.11 or later and make; npm, where there is one, checks the .proto files.
PYTHON ?= python3
BIN := .venv/bin
DONE := .venv/installed
QUICK := quickstart

# Where the real data sets stand, for the recipes and the tests that use them.
ifneq ($(wildcard ../shared/data),)
export GNNREC_DATA ?= $(abspath ../shared/data)
endif

# Prints the project's own files that match: what git tracks, whatever lies beside it.
TRACKED := $(BIN)/python -m tests.tracked

# The tests that take longest, most of which start processes: `make check` leaves them to `make test`.
LONG := tests/deploy/* tests/end_to_end/* tests/remote/* tests/test_checks.py tests/test_wheel.py \
	$(foreach name,connection examples proxies python terminal,tests/gnnrec/*test_$(name).py) \
	$(foreach name,crashes permissions staging,tests/registry/*test_$(name).py) \
	$(foreach name,front/* load/test_costs.py process/test_address.py query/test_exact.py \
		query/test_extremes.py rollout/* rpc/test_hostile.py rpc/test_newcomers.py \
		rpc/test_nonsense.py telemetry/test_endpoint.py test_workers.py trials/* \
		version/test_node_models.py,tests/server/$(name)) \
	$(foreach name,data/reading/test_formats.py data/reading/test_sql.py export/* fitting/* report/* search/* \
		test_train.py test_train_from_features.py,tests/training/$(name))

.PHONY: run check test lint types quick unit proto buf breaking bench image clean

## run: set up, make sample data, train, publish, promote, serve, and print a recommendation
run: $(DONE)
	$(BIN)/gnnrec generate $(QUICK)/data
	$(BIN)/gnnrec train $(QUICK)/data/gnnrec.toml --registry $(QUICK)/registry --promote production
	@$(BIN)/gnnrec serve --registry $(QUICK)/registry & server=$$!; \
	trap 'kill $$server; wait $$server' INT TERM; \
	$(BIN)/gnnrec topk person-0 --wait 30; \
	kill -0 $$server && wait $$server

## check: what one needs before a commit, in under two minutes on two cores
check: $(DONE)
	$(MAKE) --jobs 2 lint types quick

## test: set up and pass every check; of what git tracks: git add a new file first
# Types are checked beside the tests: alone they keep one core busy.
test: $(DONE)
	$(MAKE) --jobs 2 lint types buf unit

lint: $(DONE)
	@git ls-files --others --exclude-standard -- '*.py' 2>/dev/null \
		| sed 's/^/not checked, because git does not track it: /'
	$(TRACKED) '*.py' '*.ipynb' pyproject.toml | xargs -0 $(BIN)/ruff check --force-exclude
	$(TRACKED) '*.py' '*.ipynb' | xargs -0 $(BIN)/ruff format --check --force-exclude
	$(TRACKED) '*' | xargs -0 $(BIN)/codespell

types: $(DONE)
	$(TRACKED) $(foreach package,protos registry server training gnnrec tests benchmarks,'$(package)/*.py') \
		| xargs -0 $(BIN)/mypy

# A file of tests stays in one process, for what its tests share. In the order of their names,
# for among the first are the longest, which would keep one process alone at the end.
PYTEST := $(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

unit: $(DONE)
	$(TRACKED) 'tests/*test_*.py' | xargs -0 $(PYTEST)

quick: $(DONE)
	$(TRACKED) --but $(foreach pattern,$(LONG),'$(pattern)') -- 'tests/*test_*.py' \
		| xargs -0 $(PYTEST) -m 'not slow'

## proto: generate the Python code of the .proto files
proto: $(DONE)
	$(BIN)/python protos/generate.py

buf: $(DONE)
	@if command -v npm >/dev/null; then set -e; \
		test -x node_modules/.bin/buf || \
			npm install --silent --no-audit --no-fund --no-package-lock --fetch-timeout=20000; \
		$(BIN)/python protos/generate.py --image .venv/protos.binpb; \
		node_modules/.bin/buf lint .venv/protos.binpb --config buf.yaml --path gnnrec/v1; \
	else echo "no npm: buf lint is left out"; fi

## breaking: compare the .proto files with those of the commit AGAINST
AGAINST ?= HEAD
breaking: buf
	rm -rf .venv/against && mkdir .venv/against
	git archive $(AGAINST) protos | tar -x -C .venv/against
	$(BIN)/python protos/generate.py --image .venv/against.binpb .venv/against
	node_modules/.bin/buf breaking .venv/protos.binpb --against .venv/against.binpb \
		--config buf.yaml --path gnnrec/v1

## bench: every benchmark but that of the start, each a table and JSON; needs GNNREC_DATA
bench: $(DONE)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	$(BIN)/python -m benchmarks.propagation
	$(BIN)/python -m benchmarks.training_quality
	$(BIN)/python -m benchmarks.untuned
	$(BIN)/python -m benchmarks.warm_start
	$(BIN)/python -m benchmarks.movielens
	$(BIN)/python -m benchmarks.ingestion
	$(BIN)/python -m benchmarks.training_speed
	$(BIN)/python -m benchmarks.cold_start
	$(BIN)/python -m benchmarks.newcomers
	$(BIN)/python -m benchmarks.rollout
	$(BIN)/python -m benchmarks.fuzz
	$(BIN)/python -m benchmarks.serving

## image: build the server's image
image:
	docker build -t gnnrec .

clean:
	rm -rf .venv node_modules $(QUICK)

$(DONE): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet 'pip==26.3'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt \
		--editable '.[server,fast,s3,gcs,tracing,training,sql,mongo]' --group dev
	touch $(DONE)
