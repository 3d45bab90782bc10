# Thin: meson builds, scripts/ does the rest. `make help` lists what there is.
BUILD ?= build
DESTDIR ?=

MINUTES ?= 5
.PHONY: all build demo test test-quick coverage fuzz lint bench format install clean help

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

coverage: ## line coverage of what faces guest and VMM; fails below 90 % (HTML=1: line by line)
	@scripts/setup build coverage
	@scripts/coverage $(if $(HTML),--html)

fuzz: ## look for inputs that break something, MINUTES=5 in all
	@scripts/setup build lint
	@scripts/fuzz --minutes $(MINUTES)

lint: ## gcc and clang warnings, clang-format, clang-tidy, cppcheck, shellcheck
	@scripts/setup build lint
	@scripts/lint

format: ## let clang-format rewrite the sources
	@git ls-files '*.c' '*.h' | xargs clang-format -i

bench: build ## benchmarks, each figure with its floor (ROWS="dma many": only those; JSON=FILE: also there)
	@scripts/setup e2e
	@bench/run --build=$(BUILD) $(if $(JSON),--json=$(JSON)) $(ROWS)

install: build ## install into DESTDIR and meson's prefix
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild

clean: ## remove the build directories
	rm -rf build build-* build.log

help: ## list these
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12
