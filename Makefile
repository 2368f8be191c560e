# scoutfs: `make help` lists the targets.
CC ?= gcc
PKGS := fuse3 libssh libcurl inih expat libcrypto
SAN ?=
BUILD := build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))
comma := ,
PYTHON ?= /usr/bin/python3

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
OPT ?= -O2 -g
CFLAGS_ALL := -std=gnu11 $(OPT) $(WARN) -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DFUSE_USE_VERSION=312 \
	-Iinclude -Isrc -fPIE -pthread -fstack-protector-strong \
	$(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer,-D_FORTIFY_SOURCE=2) \
	$(shell pkg-config --cflags $(PKGS)) $(CFLAGS)
LDFLAGS_ALL := -pie -pthread -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)
LIBS := $(shell pkg-config --libs $(PKGS))

# One archive a folder; each may use those to its right.
MODULES := fs control models s3 hosts sftp config base
archive = $(BUILD)/$(1).a
$(foreach m,$(MODULES),$(eval OBJ_$(m) := $(patsubst src/%.c,$(BUILD)/obj/%.o,$(wildcard src/$(m)/*.c))))
ARCHIVES := $(foreach m,$(MODULES),$(call archive,$(m)))

.PHONY: all
all: $(BUILD)/scoutfs

$(BUILD)/scoutfs: $(BUILD)/obj/main.o $(ARCHIVES)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

$(BUILD)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

define ARCHIVE_RULE
$(BUILD)/$(1).a: $$(OBJ_$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	ar rcs $$@ $$^
endef
$(foreach m,$(MODULES),$(eval $(call ARCHIVE_RULE,$(m))))

# tests/unit/<module>/test_x.c links with its module's archive and those below it.
UNIT_SRC := $(wildcard tests/unit/*/test_*.c)
UNIT_BIN := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(UNIT_SRC))
below = $(call archive,$(1)) $(call below_$(1))
below_base :=
below_config = $(call archive,base)
below_sftp = $(call archive,config) $(call archive,base)
below_s3 = $(call archive,config) $(call archive,base)
below_hosts = $(call archive,sftp) $(call archive,config) $(call archive,base)
below_models = $(call archive,s3) $(call archive,config) $(call archive,base)
below_fs = $(call archive,base)
below_control = $(call archive,config) $(call archive,base)

define UNIT_RULE
$(BUILD)/unit/$(1)/%: tests/unit/$(1)/%.c $(call below,$(1))
	@mkdir -p $$(@D)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -MMD -MP -MF $$@.d -o $$@ $$< $(call below,$(1)) $(LIBS) -lcmocka
endef
$(foreach m,$(MODULES),$(eval $(call UNIT_RULE,$(m))))

.PHONY: unit
unit: $(UNIT_BIN)
	@for t in $(UNIT_BIN); do $$t || exit 1; done

.PHONY: clean
clean:
	rm -rf build

-include $(wildcard $(BUILD)/obj/*.d $(BUILD)/obj/*/*.d $(BUILD)/unit/*/*.d)
