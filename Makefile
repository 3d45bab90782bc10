# Thin: meson builds, scripts/ does the rest. `make help` lists what there is.
BUILD ?= build
DESTDIR ?=

.PHONY: all build demo test test-quick lint bench format install clean help

all: build

build: ## build vgpud and vgpuctl into build/ (installs what that needs)
	@scripts/setup build
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) >$(BUILD).log 2>&1 || \
		{ tail -n 20 $(BUILD).log; exit 1; }
	@ninja --quiet -C $(BUILD)

demo: ## boot a Linux guest on a vGPU, write demo.png, run until Ctrl-C (DEMO_ONESHOT=1: end then)
	@scripts/setup build e2e
	@$(MAKE) --no-print-directory build
	@BUILD=$(BUILD) scripts/demo

test: ## every test, under sanitizers, real guests included
	@scripts/setup build e2e
	@tests/run

test-quick: ## the unit tests alone
	@scripts/setup build
	@tests/run unit

lint: ## gcc and clang warnings, clang-format, clang-tidy, cppcheck, shellcheck
	@scripts/setup build lint
	@scripts/lint

format: ## let clang-format rewrite the sources
	@git ls-files '*.c' '*.h' | xargs clang-format -i

bench: build ## benchmarks, as JSON, each with its floor
	@ninja --quiet -C $(BUILD) bench/bench-damage bench/bench-trapped-read
	@$(BUILD)/bench/bench-trapped-read
	@$(BUILD)/bench/bench-damage

install: build ## install into DESTDIR and meson's prefix
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild

clean: ## remove the build directories
	rm -rf build build-* build.log

help: ## list these
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12
