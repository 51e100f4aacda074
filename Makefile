# `make` lists what there is to do.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
CARGO ?= cargo

.PHONY: help deps build install demo test test-devices check layers drift links faults generate soak \
	bench bench-relay bench-meeting bench-chat bench-latency bench-encode bench-view bench-terminal bench-files

help: ## what there is to do
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

deps: ## installs the system packages that building and testing need, where they are missing
	@scripts/deps

build: ## the programs, optimised, in target/release
	$(CARGO) build --release --bins

install: ## the programs into ~/.cargo/bin
	$(CARGO) install --path . --locked

demo: ## a meeting on this machine: server, two members, window (STAY=1: until Ctrl-C; SECONDS_LONG=20)
	@scripts/deps --build
	$(CARGO) build $(if $(filter debug,$(PROFILE)),,--release) --bins
	@scripts/demo

test: ## every test that needs no hardware
	@scripts/deps
	@if $(CARGO) nextest --version >/dev/null 2>&1; then $(CARGO) nextest run; else $(CARGO) test --lib --bins --tests; fi
	$(CARGO) test --doc

test-devices: ## conf-cam against a V4L2 camera in the device lab (../shared/lab), where it is there
	tests/devices.sh

check: ## format, lints, documentation, layers, drift of completions and man pages, links
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc --no-deps --document-private-items
	@scripts/layers
	@$(MAKE) --no-print-directory drift
	@scripts/links

layers: ## no module imports from a layer above its own
	@scripts/layers

drift: ## completions and man pages are those of the programs
	$(CARGO) build --bins
	@scripts/generate --check

links: ## links between the documents lead somewhere
	@scripts/links

faults: ## rows of ../shared/design/FAULTS.md that no test is named after
	@scripts/faults

generate: ## writes completions and man pages anew
	$(CARGO) build --bins
	@scripts/generate

bench: bench-relay bench-meeting bench-chat bench-latency bench-encode bench-view bench-terminal bench-files ## all benchmarks

bench-relay: ## CPU and delay of the relay against a bare loop of sends; stalled and idle connections
	$(CARGO) build --release --bins
	$(CARGO) bench --bench relay

bench-chat: ## CPU and delay of a chat of 100 members beside ngircd and redis-server, `stored` on this disk, idle members
	$(CARGO) build --release --bins
	$(CARGO) bench --bench chat

bench-meeting: ## 2, 5 and 10 people: CPU, memory and network of server and member, time until messages and pictures are there
	$(CARGO) build --release --bins
	$(CARGO) bench --bench meeting

bench-latency: ## glass to glass on loopback, through all programs
	$(CARGO) build --release --bins
	$(CARGO) bench --bench latency

bench-encode: ## pictures per second of capture and encoding
	$(CARGO) bench --bench encode

bench-view: ## pictures per second of decoding and drawing
	$(CARGO) bench --bench view

bench-terminal: ## a key until it is drawn, with 10,000 messages and while 10,000 come every second
	$(CARGO) bench --bench chat_screen

bench-files: ## files through a room beside rsync, scp, magic-wormhole and croc, as far as they are there
	$(CARGO) build --release --bins
	$(CARGO) bench --bench files

soak: ## SEEDS=50000 simulated meetings and transfers with faults, ROUNDS=250 of kills in chats, KILLS=1000 in uploads and as many in downloads, 20,000 hostile lists, 100,000 rounds of a race of links, then a meeting for MINUTES=10 with kills and suspensions
	CONF_SIM_SEEDS=$${SEEDS:-50000} $(CARGO) test --lib simulation::
	CONF_SOAK=$${ROUNDS:-250} $(CARGO) test --test it chat_kill:: -- --nocapture
	CONF_SOAK=$${KILLS:-1000} $(CARGO) test --test it upload_kill:: -- --nocapture
	CONF_SOAK=$${KILLS:-1000} $(CARGO) test --test it fetch_kill:: -- --nocapture
	CONF_SOAK=20000 $(CARGO) test --test it f01_f02_f03_f05 -- --nocapture
	CONF_SOAK=100000 $(CARGO) test --test it f05_a_directory -- --nocapture
	$(CARGO) build --release --bins
	@scripts/soak $${MINUTES:-10}
