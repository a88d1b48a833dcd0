# Every target is the same verb of `mmstack`, or a few of them. `make help` lists them in groups.
#
# ENVIRONMENT=development|staging|production|testing and SERVICE=… narrow the targets that take them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MMSTACK := $(BIN)/mmstack
ENVIRONMENT ?= development
# Kinds of data that can be wiped on their own, as volumes say them in the schema.
KINDS := db cache models logs test-results
STACKS := core inference ai ui testing monitoring
# Names of environments in targets (short) → in the schema (alias or name).
ENVIRONMENTS := dev staging prod testing-env
GPU_STACKS := inference ai
PYTEST := $(BIN)/python -m pytest
WITHOUT_ENGINE := not integration and not fault and not e2e and not soak

##@ Begin here

.PHONY: help
help: ## List all targets
	@awk -f .ci/help.awk $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Make .venv with the locked versions (again only when the lock changed)
	@bash .ci/setup $(PYTHON) $(VENV)

.PHONY: demo
demo: setup lab-up ## Core stack up, sample data in, backed up, copied, proven; then the web UI
	@$(MMSTACK) secrets generate
	@$(MMSTACK) start core
	@$(BIN)/python lab/sample/seed.py
	@$(MMSTACK) backup run core
	@$(MMSTACK) drill core
	@$(MMSTACK) status core
	@$(MMSTACK) backup status core
	@$(MMSTACK) ui --detach

.PHONY: test
test: setup ## Run every check and every test, on real containers
	@$(BIN)/python .ci/test.py

.PHONY: test-soak
test-soak: setup ## Run what is long, and properties with many random examples (hours)
	@$(BIN)/python .ci/test.py soak

.PHONY: mutation
mutation: setup lab-up ## Plant every fault a backup may have; the score goes into docs/proof.md
	@$(BIN)/python -m tests.mutation.score --write docs/proof.md

.PHONY: lab-up
lab-up: ## Install and start a Docker engine where there is none; build the offline images
	@bash lab/lab.sh up

.PHONY: lab-down
lab-down: ## Take away what lab-up brought, and nothing else
	@bash lab/lab.sh down

.PHONY: lab-status
lab-status: ## Say what there is, and what of it the lab brought
	@bash lab/lab.sh status

.PHONY: ui
ui: $(MMSTACK) ## Run Dagster's web UI and daemon
	@$(MMSTACK) ui

.PHONY: doctor
doctor: $(MMSTACK) ## Check this machine, with remedies
	@$(MMSTACK) -e $(ENVIRONMENT) doctor

##@ Environments

.PHONY: $(ENVIRONMENTS:%=start-%) $(ENVIRONMENTS:%=stop-%) $(GPU_STACKS:%=start-%-gpu)
$(ENVIRONMENTS:%=start-%): start-%: $(MMSTACK) ## Start everything the environment declares
	@$(MMSTACK) -e $* start

$(ENVIRONMENTS:%=stop-%): stop-%: $(MMSTACK) ## Stop it; volumes stay
	@$(MMSTACK) -e $* stop

.PHONY: system-status
system-status: $(MMSTACK) ## Show all environments and the engine
	@$(MMSTACK) status --all

.PHONY: detect-gpu
detect-gpu: $(MMSTACK) ## Show whether the engine can reserve GPUs
	@$(MMSTACK) -e $(ENVIRONMENT) doctor --only gpu

##@ Stacks (ENVIRONMENT=development by default)

.PHONY: $(STACKS:%=start-%) $(STACKS:%=stop-%) $(STACKS:%=restart-%) $(STACKS:%=rebuild-%)
.PHONY: $(STACKS:%=status-%) $(STACKS:%=logs-%) $(STACKS:%=plan-%)
$(STACKS:%=start-%): start-%: $(MMSTACK) ## Start a stack and what it needs
	@$(MMSTACK) -e $(ENVIRONMENT) start $*

$(GPU_STACKS:%=start-%-gpu): start-%-gpu: $(MMSTACK) ## Start it with its GPUs reserved
	@$(MMSTACK) -e $(ENVIRONMENT) start $* --gpu

$(STACKS:%=stop-%): stop-%: $(MMSTACK) ## Stop a stack; volumes stay
	@$(MMSTACK) -e $(ENVIRONMENT) stop $*

$(STACKS:%=restart-%): restart-%: $(MMSTACK) ## Restart its containers as they are
	@$(MMSTACK) -e $(ENVIRONMENT) restart $*

$(STACKS:%=rebuild-%): rebuild-%: $(MMSTACK) ## Get its images again and recreate what changed
	@$(MMSTACK) -e $(ENVIRONMENT) rebuild $*

$(STACKS:%=plan-%): plan-%: $(MMSTACK) ## Show what a start would do
	@$(MMSTACK) -e $(ENVIRONMENT) plan $*

$(STACKS:%=status-%): status-%: $(MMSTACK) ## Show what runs
	@$(MMSTACK) -e $(ENVIRONMENT) status $*

$(STACKS:%=logs-%): logs-%: $(MMSTACK) ## Follow its logs
	@$(MMSTACK) -e $(ENVIRONMENT) logs $* --follow

##@ Backups (ENVIRONMENT=development by default; SERVICE=, TYPE=, TIER=, BACKUP= narrow)

# Words that a verb takes from variables; a variable that is empty says nothing.
CHOICE = $(if $(TYPE),--type $(TYPE)) $(if $(TIER),--tier $(TIER))
needs = $(if $($(1)),,@echo "$@ needs $(1)=$(2)" >&2; exit 2)

.PHONY: backup-full backup-service backup-status backup-list backup-copy
backup-full: $(MMSTACK) ## Back up all the environment starts, but models; copy to the tiers
	@$(MMSTACK) -e $(ENVIRONMENT) backup run

backup-service: $(MMSTACK) ## Back SERVICE= up (TYPE= for one type only)
	$(call needs,SERVICE,postgres)
	@$(MMSTACK) -e $(ENVIRONMENT) backup run $(SERVICE) $(if $(TYPE),--type $(TYPE))

backup-status: $(MMSTACK) ## Last good, last proven, presence on tiers, sizes, next run
	@$(MMSTACK) -e $(ENVIRONMENT) backup status $(SERVICE)

backup-list: $(MMSTACK) ## List backups, the newest first
	@$(MMSTACK) -e $(ENVIRONMENT) backup list $(SERVICE) $(CHOICE)

backup-copy: $(MMSTACK) ## Copy what is missing to the other tiers, or to TIER=
	@$(MMSTACK) -e $(ENVIRONMENT) backup copy $(BACKUP) $(if $(TIER),--to $(TIER))

.PHONY: verify drill restore hold unhold accept export
verify: $(MMSTACK) ## Read copies and check them: of SERVICE= or BACKUP=, else those due
	@$(MMSTACK) -e $(ENVIRONMENT) verify $(SERVICE) $(BACKUP) $(CHOICE)

drill: $(MMSTACK) ## Prove backups by restoring them into scratch servers
	@$(MMSTACK) -e $(ENVIRONMENT) drill $(SERVICE) $(BACKUP) $(CHOICE)

restore: $(MMSTACK) ## Restore SERVICE= (AT=, BACKUP=, SCRATCH=1; asks, or CONFIRM=)
	$(if $(SERVICE)$(BACKUP),,@echo "restore needs SERVICE=postgres or BACKUP=…" >&2; exit 2)
	@$(MMSTACK) -e $(ENVIRONMENT) restore $(SERVICE) $(CHOICE) $(if $(BACKUP),--backup $(BACKUP)) \
		$(if $(AT),--at $(AT)) $(if $(SCRATCH),--into-scratch) $(if $(CONFIRM),--confirm $(CONFIRM))

hold: $(MMSTACK) ## Keep BACKUP= from every retention; REASON= says why
	$(call needs,BACKUP,environment/service/type/id)
	$(call needs,REASON,text)
	@$(MMSTACK) -e $(ENVIRONMENT) hold $(BACKUP) --reason "$(REASON)"

unhold: $(MMSTACK) ## Let retention have BACKUP= again
	$(call needs,BACKUP,environment/service/type/id)
	@$(MMSTACK) -e $(ENVIRONMENT) unhold $(BACKUP)

accept: $(MMSTACK) ## Accept what a drill finds suspicious about BACKUP=; REASON= says why
	$(call needs,BACKUP,environment/service/type/id)
	$(call needs,REASON,text)
	@$(MMSTACK) -e $(ENVIRONMENT) accept $(BACKUP) --reason "$(REASON)"

export: $(MMSTACK) ## Write BACKUP= as a plain tar to FILE=
	$(call needs,BACKUP,environment/service/type/id)
	$(call needs,FILE,backup.tar)
	@$(MMSTACK) -e $(ENVIRONMENT) export $(BACKUP) $(FILE) $(if $(TIER),--tier $(TIER))

##@ Retention (ENVIRONMENT=development by default; SERVICE=, TIER= narrow)

.PHONY: retention-status retention-test retention-cleanup
retention-status: $(MMSTACK) ## Policy, ages, next run, and what would go
	@$(MMSTACK) -e $(ENVIRONMENT) retention status $(SERVICE) $(if $(TIER),--tier $(TIER))

retention-test: $(MMSTACK) ## Print exactly what retention-cleanup would do
	@$(MMSTACK) -e $(ENVIRONMENT) retention test $(SERVICE) $(if $(TIER),--tier $(TIER))

retention-cleanup: $(MMSTACK) ## Delete what the retention policy doesn't keep (asks, or YES=1)
	@$(MMSTACK) -e $(ENVIRONMENT) retention cleanup $(SERVICE) $(if $(TIER),--tier $(TIER)) $(if $(YES),--yes)

##@ Networks (ENVIRONMENT=development by default)

.PHONY: check-network-conflicts validate-networks check-network-health cleanup-networks
check-network-conflicts: $(MMSTACK) ## Subnets against engine, default pools, host; free ones
	@$(MMSTACK) -e $(ENVIRONMENT) network conflicts

validate-networks: $(MMSTACK) ## What runs against what is declared, and who is on it
	@$(MMSTACK) -e $(ENVIRONMENT) network validate

check-network-health: $(MMSTACK) ## From inside: who can open whose ports, and who can't
	@$(MMSTACK) -e $(ENVIRONMENT) network health

cleanup-networks: $(MMSTACK) ## Remove empty networks of ours that nobody wants (asks, or YES=1)
	@$(MMSTACK) -e $(ENVIRONMENT) network cleanup $(if $(YES),--yes)

##@ Wipes: data deleted on purpose (they ask, or CONFIRM=; PLAN=1 only shows; YES=1 where unprotected)

SURE = $(if $(PLAN),--plan) $(if $(YES),--yes) $(if $(CONFIRM),--confirm $(CONFIRM))

.PHONY: $(STACKS:%=wipe-%) $(KINDS:%=wipe-%) $(ENVIRONMENTS:%=wipe-%)
$(STACKS:%=wipe-%): wipe-%: $(MMSTACK) ## A stack: containers, volumes, network
	@$(MMSTACK) -e $(ENVIRONMENT) wipe $* $(SURE)

$(KINDS:%=wipe-%): wipe-%: $(MMSTACK) ## Volumes of one kind; what ran is started again
	@$(MMSTACK) -e $(ENVIRONMENT) wipe $* $(SURE)

$(ENVIRONMENTS:%=wipe-%): wipe-%: $(MMSTACK) ## All an environment has on the engine
	@$(MMSTACK) -e $* wipe environment $(SURE)

##@ Schema, secrets and generated files

.PHONY: validate-schema generate-compose
validate-schema: $(MMSTACK) ## Check the schema: every problem with file and line
	@$(MMSTACK) validate schema

generate-compose: $(MMSTACK) ## Write the Compose files of ENVIRONMENT
	@$(MMSTACK) -e $(ENVIRONMENT) render compose

.PHONY: setup-secrets-dev setup-secrets-staging setup-secrets-prod setup-secrets-testing
setup-secrets-dev setup-secrets-staging setup-secrets-prod: setup-secrets-%: $(MMSTACK) ## Generate the secrets that are missing
	@$(MMSTACK) -e $* secrets generate

setup-secrets-testing: $(MMSTACK) ## Generate the testing environment's
	@$(MMSTACK) -e testing secrets generate

##@ Tests and measurements

.PHONY: lint
lint: setup ## Style, types, and the rules of the layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: test-unit
test-unit: setup ## The rules and plans, without files, engine or Dagster (seconds)
	@$(PYTEST) tests/domain -m "$(WITHOUT_ENGINE) and not hypothesis"

.PHONY: test-no-engine
test-no-engine: setup ## All tests that need no engine: adapters, command line, Dagster too (minutes)
	@$(PYTEST) -n auto -m "$(WITHOUT_ENGINE)"

.PHONY: test-integration
test-integration: setup lab-up ## The tests on a real engine, faults included
	@$(PYTEST) -m "(integration or fault) and not soak"

.PHONY: test-api
test-api: setup lab-up browser ## The web UI's API and pages, end to end
	@$(PYTEST) -m "e2e and not soak"

.PHONY: test-allure
test-allure: setup ## The unit tests, with results for Allure under .mmstack/allure-results
	@$(PYTEST) -n auto -m "$(WITHOUT_ENGINE)" --alluredir .mmstack/allure-results

.PHONY: test-jmeter
test-jmeter: $(MMSTACK) ## A load test with the testing stack's JMeter; fails on any error
	@$(MMSTACK) -e testing start testing
	@$(MMSTACK) -e testing jmeter $(PLAN)

.PHONY: bench
bench: setup lab-up ## Measure, side by side with the peers; writes docs/performance.md
	@$(BIN)/python -m bench

.PHONY: browser
browser:
	@bash .ci/browser

.PHONY: lock
lock: ## Renew requirements.lock from pyproject.toml
	@bash .ci/lock $(PYTHON)

##@ Not in this version yet

LATER_SECURITY := validate-security rotate-secrets validate-credentials-dev \
	validate-credentials-staging validate-credentials-prod validate-credentials-testing
LATER := $(LATER_SECURITY)

.PHONY: $(LATER)
$(LATER_SECURITY): ## Credential and hardening checks, rotation
$(LATER):
	@echo "$@: not in this version yet; the verb will be \`mmstack $(subst -, ,$@)\`" >&2; exit 2

$(MMSTACK):
	@$(MAKE) setup
