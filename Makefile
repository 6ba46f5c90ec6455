# Every target needs only Go; the targets marked "containers" also need Docker.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BUILD   := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)"
TOOL    := go tool -modfile=testing/tools/go.mod
# Use the plugin if it is installed: the old docker-compose fails to recreate
# containers on newer engines.
COMPOSE  = $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
FOLDERS := api cluster cmd fsm limiter testing
# Clusters of real processes are slow on a busy machine: testing/e2e/lifecycle can take
# longer than the 10 minutes that go test gives a package.
WAIT := -timeout 60m

# Programs read the output of `make dev`.
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: certs new-certs help build dev test chaos chaos-bites soak bench bench-access bench-replication bench-ledger sim sim-bites owners lifecycle lint fmt image up down clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/quorate
	@$(BUILD) -o bin/quorate ./cmd/quorate

# exec, so that a signal to make's child reaches the cluster.
dev: build ## build and run a three-node cluster on this machine
	@exec bin/quorate dev

test: ## run all tests with the race detector
	go test -race -shuffle=on $(WAIT) ./...

bench: ## measure checks/s compared with nginx; needs wrk and nginx
	@go test -count=1 $(WAIT) -v ./testing/bench -run FirstLight -rounds 3

bench-access: ## measure the cost of tokens and TLS; needs wrk
	@go test -count=1 $(WAIT) -v ./testing/bench -run AccessCost -rounds 7

bench-replication: ## measure the cost of replication; needs wrk
	@go test -count=1 $(WAIT) -v ./testing/bench -run Replication -rounds 5

bench-ledger: ## measure the ledger: a million accounts in bulk, single entries, snapshots
	@go test -count=1 $(WAIT) -v ./testing/bench -run TestLedger -ledger 1000000

sim: ## simulate 20,000 seeded runs of faults and check the bounds
	go test -count=1 $(WAIT) -v ./testing/sim -run Bounds -seeds 20000

sim-bites: ## take one protection of the product away at a time; the simulator must find each
	go test -count=1 $(WAIT) -v ./testing/sim -run TestBites -bites

owners: ## kill, freeze and move owners in clusters of real processes, 20 times each, and check the bounds
	go test -count=1 $(WAIT) -v ./testing/e2e/owners -faults 20

lifecycle: ## back up, restart, upgrade, replace and recover clusters of real processes, with a million accounts
	go test -count=1 $(WAIT) -v ./testing/e2e/lifecycle -accounts 1000000 -long

# Both take SEED (the same faults again), ONLY (namespaces, processes, five, clocks
# or containers), NODES and FAULTS (by name, with commas).
CHAOS = go test -count=1 -timeout 0 -v ./testing/chaos -run TestChaos -chaos -seed $(or $(SEED),0) \
	-only "$(ONLY)" -nodes $(or $(NODES),0) -faults "$(FAULTS)" -report $(CURDIR)/testing/chaos/out/report.html

chaos: ## inject faults into real clusters under load for some minutes, and check the bounds
	@$(CHAOS)

chaos-bites: ## remove one protection at a time, and check that the harness detects it
	@go test -count=1 $(WAIT) -v ./testing/chaos -run TestBites -bites -only "$(ONLY)" -seed $(or $(SEED),1) -report $(CURDIR)/testing/chaos/out/bites.html

soak: ## the same with five nodes and random faults, one or two at a time, for MINUTES=60
	@$(CHAOS) -soak $(or $(MINUTES),60)m

lint: ## check formatting, vet and staticcheck, with and without fault injection
	@files=$$(gofmt -l $(FOLDERS)); test -z "$$files" || { echo "gofmt would change:" $$files; exit 1; }
	go vet ./...
	go vet -tags faultinject ./...
	GOOS=darwin CGO_ENABLED=0 go vet ./...
	$(TOOL) staticcheck ./...
	$(TOOL) staticcheck -tags faultinject ./...

fmt: ## format all Go files
	$(TOOL) gofumpt -w $(FOLDERS)

image: ## containers: build the image quorate:dev without pulling another image
	rm -rf bin/rootfs && mkdir -p bin/rootfs/data && touch bin/rootfs/data/.keep
	$(BUILD) -o bin/rootfs/quorate ./cmd/quorate
	docker build --pull=false --network=none -t quorate:dev .

# Only the owner of .keys can enter it. Each node's folder in it is readable by all,
# because its container runs as another user. No node's folder contains the key of
# the authority.
KEYS := .keys
certs: ## containers: create certificates, gossip key and admin token in .keys, once
	@test -e $(KEYS)/admin-token || $(MAKE) new-certs

new-certs: build
	@rm -rf $(KEYS) && mkdir -m 700 $(KEYS)
	bin/quorate tls ca --dir $(KEYS)
	@umask 077 && bin/quorate gossip keygen >$(KEYS)/gossip-key
	@for n in n1 n2 n3; do \
	  mkdir -m 755 $(KEYS)/$$n && \
	  bin/quorate tls cert $$n --role node --host $$n --ca $(KEYS)/ca.pem --ca-key $(KEYS)/ca-key.pem --dir $(KEYS)/$$n && \
	  mv $(KEYS)/$$n/$$n.pem $(KEYS)/$$n/node.pem && mv $(KEYS)/$$n/$$n-key.pem $(KEYS)/$$n/node-key.pem && \
	  cp $(KEYS)/ca.pem $(KEYS)/gossip-key $(KEYS)/$$n/ || exit 1; \
	done
	@umask 077 && bin/quorate token generate >$(KEYS)/token && for n in n1 n2 n3; do cp $(KEYS)/token $(KEYS)/$$n/admin-token; done
	@chmod 644 $(KEYS)/n?/* && mv $(KEYS)/token $(KEYS)/admin-token

up: image certs ## containers: run three closed nodes, API on https://127.0.0.1:8081 to 8083
	$(COMPOSE) up -d

down: ## containers: stop the three nodes and remove their data
	$(COMPOSE) down --volumes

clean: ## remove build output
	rm -rf bin
