# scoutfs: `make help` lists the targets.
comma := ,
SAN ?=
BUILD := build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))
PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
ifeq ($(origin CC),default)
CC := gcc
endif
export PYTHONDONTWRITEBYTECODE := 1

# Asked once, when first needed: on a fresh machine `make deps` installs pkg-config itself.
PKGS := fuse3 libssh libcurl inih expat libcjson libcrypto zlib
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell pkg-config --cflags $(PKGS)))$(PKG_CFLAGS)
PKG_LIBS = $(eval PKG_LIBS := $$(shell pkg-config --libs $(PKGS)))$(PKG_LIBS)

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
OPT ?= -O2 -g
CFLAGS_ALL = -std=gnu11 $(OPT) $(WARN) -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DFUSE_USE_VERSION=312 \
	-Iinclude -Isrc -fPIE -pthread -fstack-protector-strong \
	$(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer,-D_FORTIFY_SOURCE=2) \
	$(PKG_CFLAGS) $(CFLAGS)
LDFLAGS_ALL = -pie -pthread -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)

# What the compiler said stays beside its output, so that lint can ask for silence also when
# nothing had to be built again.
quietly = @mkdir -p $(@D); echo '  $(1) $@'; \
	$(2) 2>$@.warn; status=$$?; cat $@.warn >&2; exit $$status

# One archive a folder; each may use those to its right.
MODULES := fs control models s3 hosts sftp config base
archive = $(BUILD)/$(1).a
$(foreach m,$(MODULES),$(eval OBJ_$(m) := $(patsubst src/%.c,$(BUILD)/obj/%.o,$(wildcard src/$(m)/*.c))))
ARCHIVES := $(foreach m,$(MODULES),$(call archive,$(m)))

.PHONY: all
all: $(BUILD)/scoutfs $(BUILD)/scoutfs-load

OBJ_main := $(patsubst src/%.c,$(BUILD)/obj/%.o,$(wildcard src/*.c))
$(BUILD)/scoutfs: $(OBJ_main) $(ARCHIVES)
	$(call quietly,LD,$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS))

# The load generator shares nothing with the program that it measures.
OBJ_load := $(patsubst bench/load/%.c,$(BUILD)/obj/load/%.o,$(wildcard bench/load/*.c))
$(BUILD)/scoutfs-load: $(OBJ_load)
	$(call quietly,LD,$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS))
$(BUILD)/obj/load/%.o: bench/load/%.c
	$(call quietly,CC,$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<)

# The pool of hosts without the rest: bench/pool drives its backend in one process.
OBJ_pool := $(patsubst bench/pool/%.c,$(BUILD)/obj/bench-pool/%.o,$(wildcard bench/pool/*.c))
$(BUILD)/scoutfs-bench-pool: $(OBJ_pool) $(foreach m,hosts sftp config base,$(call archive,$(m)))
	$(call quietly,LD,$(CC) $(LDFLAGS_ALL) -o $@ $^ $(PKG_LIBS))
$(BUILD)/obj/bench-pool/%.o: bench/pool/%.c
	$(call quietly,CC,$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<)
$(BUILD)/delay: bench/delay/delay.c
	$(call quietly,CC,$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $<)
.PHONY: bench-programs
bench-programs: $(BUILD)/scoutfs-bench-pool $(BUILD)/delay

$(BUILD)/obj/%.o: src/%.c
	$(call quietly,CC,$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<)

define ARCHIVE_RULE
$(BUILD)/$(1).a: $$(OBJ_$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	@ar rcs $$@ $$^
endef
$(foreach m,$(MODULES),$(eval $(call ARCHIVE_RULE,$(m))))

# tests/unit/<module>/test_x.c links with its module's archive and those below it.
UNIT_SRC := $(wildcard tests/unit/*/test_*.c)
UNIT_BIN := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(UNIT_SRC))
below = $(call archive,$(1)) $(below_$(1))
below_base :=
below_config := $(call archive,base)
below_sftp := $(call archive,config) $(call archive,base)
below_s3 := $(call archive,config) $(call archive,base)
below_hosts := $(call archive,sftp) $(call archive,config) $(call archive,base)
below_models := $(call archive,s3) $(call archive,config) $(call archive,base)
below_fs := $(call archive,base)
below_control := $(call archive,config) $(call archive,base)

define UNIT_RULE
$(BUILD)/unit/$(1)/%: tests/unit/$(1)/%.c $(call below,$(1))
	$$(call quietly,CC,$$(CC) $$(CFLAGS_ALL) $$(LDFLAGS_ALL) -MMD -MP -MF $$@.d -o $$@ $$< \
		$(call below,$(1)) $$(PKG_LIBS) -lcmocka)
endef
$(foreach m,$(MODULES),$(eval $(call UNIT_RULE,$(m))))

# tests/fuzz/fuzz_x.c: build/fuzz/x runs it over tests/fuzz/corpus/x; `make fuzz` looks for more.
FUZZ_TARGETS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SECONDS ?= 60
fuzz_links_ini := $(call below,config)
fuzz_links_ssh_config := $(call below,config)
fuzz_links_sftp := $(call below,sftp)
fuzz_links_ssh_answer := $(call below,sftp)
fuzz_links_known_hosts := $(call below,sftp)
fuzz_links_list_xml := $(call below,s3)
fuzz_links_response := $(call below,s3)
fuzz_links_credentials := $(call below,s3)
fuzz_links_upload_xml := $(call below,s3)
fuzz_links_zip := $(call below,models)

define FUZZ_RULE
$(BUILD)/fuzz/$(1): tests/fuzz/fuzz_$(1).c tests/fuzz/run_corpus.c $(fuzz_links_$(1))
	$$(call quietly,CC,$$(CC) $$(CFLAGS_ALL) $$(LDFLAGS_ALL) -o $$@ $$^ $$(PKG_LIBS))
$(BUILD)/libfuzzer/$(1): tests/fuzz/fuzz_$(1).c $(fuzz_links_$(1))
	$$(call quietly,CC,$$(CC) $$(CFLAGS_ALL) $$(LDFLAGS_ALL) -fsanitize=fuzzer -o $$@ $$^ $$(PKG_LIBS))
endef
$(foreach t,$(FUZZ_TARGETS),$(eval $(call FUZZ_RULE,$(t))))

.PHONY: fuzz libfuzzer
fuzz: deps
	@$(MAKE) --no-print-directory CC=clang SAN=fuzzer-no-link,address,undefined \
		BUILD=build/clang-fuzz libfuzzer
libfuzzer: $(FUZZ_TARGETS:%=$(BUILD)/libfuzzer/%)
	@for t in $(FUZZ_TARGETS); do \
		echo "== $$t"; mkdir -p $(BUILD)/found/$$t; \
		$(BUILD)/libfuzzer/$$t -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 \
			-print_final_stats=1 -verbosity=0 -artifact_prefix=$(BUILD)/found/$$t- \
			$(BUILD)/found/$$t tests/fuzz/corpus/$$t || exit 1; \
	done

# Every C file through clang, which warns of other things than gcc.
CLANG_OK := $(patsubst %.c,$(BUILD)/clang/%.ok,$(wildcard src/*.c src/*/*.c tests/unit/*/*.c tests/fuzz/*.c \
	bench/load/*.c bench/pool/*.c bench/delay/*.c))
$(BUILD)/clang/%.ok: %.c
	$(call quietly,CLANG,clang -fsyntax-only -Werror $(CFLAGS_ALL) -MMD -MP -MF $@.d -MT $@ $< && touch $@)

.PHONY: unit test-programs
unit: $(UNIT_BIN)
	@for t in $(UNIT_BIN); do $$t || exit 1; done
test-programs: all bench-programs $(UNIT_BIN) $(FUZZ_TARGETS:%=$(BUILD)/fuzz/%) $(CLANG_OK)

# The machine's own packages come first, the compiler among them: hence make inside make.
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
submake = $(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS))

.PHONY: deps check test demo demo-stop bench
deps:
	@sh tests/deps.sh
check:
	@$(submake) -k test-programs; $(PYTHON) tests/run.py check '$(BUILD)' '$(SAN)'
test: deps
	@$(submake) -k test-programs; $(PYTHON) tests/run.py test '$(BUILD)' '$(SAN)'
demo: deps
	@$(submake) all
	@$(PYTHON) tests/demo/demo.py '$(BUILD)/scoutfs' $(if $(KEEP),--keep)
demo-stop:
	@$(PYTHON) tests/demo/demo.py --stop
# ONLY=word: the cases that have it in their names. QUICK=1: fewer and smaller ones, once.
bench:
	@sh tests/deps.sh sshfs rclone s3fs fio time python3-matplotlib
	@$(submake) all bench-programs
	@$(PYTHON) bench/run.py $(if $(QUICK),--quick) $(if $(ONLY),--only '$(ONLY)') '$(BUILD)/scoutfs'

# Of the cases that have ONLY in their names. KIND=cpu, machine, memory or heap: bench/profile.sh.
.PHONY: profile
profile:
	@sh tests/deps.sh linux-perf valgrind fio
	@$(submake) all bench-programs
	@QUICK='$(QUICK)' bench/profile.sh $(or $(KIND),cpu) '$(ONLY)' '$(BUILD)'

DOC := $(DESTDIR)$(PREFIX)/share/doc/scoutfs
.PHONY: install clean help
install: all
	install -D -m 755 -t '$(DESTDIR)$(PREFIX)/bin' $(BUILD)/scoutfs $(BUILD)/scoutfs-load
	install -d '$(DOC)/examples'
	install -m 644 scoutfs.ini README.md '$(DOC)'
	install -m 644 $(filter-out %.sh,$(wildcard examples/*)) '$(DOC)/examples'
	install -m 755 $(wildcard examples/*.sh) '$(DOC)/examples'
	for page in $(wildcard src/*.1 bench/load/*.1); do \
		install -D -m 644 -t '$(DESTDIR)$(PREFIX)/share/man/man1' $$page || exit 1; done
clean:
	rm -rf build
help:
	@echo 'make               build/scoutfs'
	@echo 'make demo          install what is missing, build, and show scoutfs at work on servers of its own'
	@echo '  KEEP=1             leave it mounted; make demo-stop ends it'
	@echo 'make test          install what is missing, build, run every test'
	@echo '  SAN=address,undefined or SAN=thread: with sanitizers, in build/san-...'
	@echo 'make check         lint, unit tests and fuzz corpora: seconds'
	@echo 'make fuzz          search for new inputs that break a parser (FUZZ_SECONDS=60 for each)'
	@echo 'make bench         measure against other file systems; results in bench/results/'
	@echo '  ONLY=word QUICK=1  the cases with that word in their names; fewer and smaller ones'
	@echo 'make profile       ONLY=word KIND=cpu, machine, memory or heap, QUICK=1: where they go'
	@echo 'make deps          install the Debian packages for all this'
	@echo 'make install       DESTDIR= PREFIX=/usr/local'
	@echo 'make clean         remove build/'

-include $(wildcard $(BUILD)/obj/*.d $(BUILD)/obj/*/*.d $(BUILD)/unit/*/*.d \
	$(BUILD)/clang/*/*.d $(BUILD)/clang/*/*/*.d $(BUILD)/clang/*/*/*/*.d)
