# One line per target; CI runs the same ones (.ci/run). CONTRIBUTING.md says when to use which.
AREA     ?= main-job
FUZZTIME ?= 30s
BUDGET   ?= 3600
BENCH    ?= .
PKG      ?= ./...

.PHONY: build test race lint fuzz bench bench-segments bench-large profile gobench demo generate deps accept

build: ; go build -o bin/ ./cmd/...

test: ; go test -race -vet=off -timeout=20m $(PKG)

race: ; go test -race -count=2 -cpu=1,2,4 -shuffle=on -timeout=60m $(PKG)

lint: bin/golangci-lint ; bin/golangci-lint run

fuzz: ; .ci/fuzz $(FUZZTIME) $(BUDGET)

bench: build ; @.ci/bench

bench-segments: ; @.ci/bench-segments

bench-large: ; @CONTACTS=10000000 ROUNDS=1 .ci/bench-segments

profile: build ; @.ci/profile

gobench: ; go test -run='^$$' -bench='$(BENCH)' -benchmem $(PKG)

demo: ; go run ./cmd/segue demo

generate: ; go generate ./...

deps: bin/golangci-lint ; .ci/deps

accept: ; @.ci/accept $(AREA)

bin/golangci-lint: .ci/tools/go.mod ; go build -C .ci/tools -o ../../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
