# Two commands set everything up: `make run` and `make test`. `make help` lists the rest.

.DEFAULT_GOAL := help
SHELL := /bin/sh

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: plugins build ## Start a gateway on ./data, with a device to try things with and every event shown
	@$(or $(CARGO_TARGET_DIR),target)/release/tidegate serve --demo

.PHONY: build
build: ## Build the gateway: target/release/tidegate
	@scripts/setup build
	cargo build --release --locked -p tidegate

.PHONY: plugins
plugins: ## Build the shipped plugins into ./plugins
	@scripts/setup build
	@scripts/build-plugins

.PHONY: test
test: ## Everything CI runs: format, lints, licences, docs, unit and end-to-end tests
	@scripts/test

.PHONY: bench
bench: plugins build ## Side by side with mosquitto, and instruction counts
	@scripts/setup bench
	@scripts/bench

.PHONY: clean
clean: ## Remove everything that was built, but not ./data
	cargo clean
	rm -rf plugins
