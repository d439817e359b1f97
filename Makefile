# make | demo | test | unit | asan | tsan | fuzz | bench | lint | format | install | uninstall | image | clean
# One flat file: a folder is a static archive, a program is a main object and the archives it uses.
# A debug or sanitizer build goes to a build folder of its own: make BUILD=build/asan SAN=address,undefined

.DEFAULT_GOAL := all
BUILD ?= build
ifeq ($(origin CC),default)
CC := gcc
endif
SAN ?=
# V=1 shows whole commands
ifeq ($(V),)
.SILENT:
endif
VERSION := 0.1.0
PREFIX ?= /usr/local

CFLAGS ?= -O2 -g
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE -I. -fPIE -pthread \
  -Wall -Wextra -Werror -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wundef \
  -Wpointer-arith -Wwrite-strings -Wvla -Wimplicit-fallthrough \
  -fstack-protector-strong -DORCH_VERSION='"$(VERSION)"' -DORCH_PREFIX='"$(PREFIX)"' $(CFLAGS)
ALL_LDFLAGS := -pie -pthread -Wl,-z,relro,-z,now -Wl,--as-needed $(LDFLAGS)
ifneq ($(SAN),)
ALL_CFLAGS += -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
ALL_LDFLAGS += -fsanitize=$(SAN)
else
ALL_CFLAGS += -D_FORTIFY_SOURCE=2
endif

# folder -> build/lib/<name>.a with every object of the folder but main.o and *_main.o
ARCHIVES := lib lib/tracker lib/forge protocol supervisor \
  services/ingress services/scheduler services/runner services/reaper services/reconciler \
  services/monitor services/notifier tools
archive = $(BUILD)/lib/$(subst /,_,$(1)).a
sources = $(filter-out %main.c,$(wildcard $(1)/*.c))
objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

COMMON := $(call archive,protocol) $(call archive,lib)
LIBS_COMMON := -lnng -ljansson -lyaml

# Each database is read by the other service too, through these objects and no others.
STORE_READ := $(addprefix $(BUILD)/obj/services/scheduler/store_read,.o _state.o _tasks.o)
INBOX_READ := $(BUILD)/obj/services/ingress/inbox_read.o

# PROGRAM(name, main source, archives, libraries)
PROGRAMS :=
define PROGRAM
PROGRAMS += $(BUILD)/bin/$(1)
$(BUILD)/bin/$(1): $(call objects,$(2)) $(3)
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_LDFLAGS) -o $$@ -Wl,--start-group $$^ -Wl,--end-group $(4)
endef

$(eval $(call PROGRAM,orchestrator,supervisor/main.c,$(call archive,supervisor) $(COMMON),-ljansson -lyaml))
$(eval $(call PROGRAM,orch-ingress,services/ingress/main.c,$(call archive,services/ingress) $(STORE_READ) $(COMMON),-lsqlite3 -lmicrohttpd -lnettle $(LIBS_COMMON)))
$(eval $(call PROGRAM,orch-scheduler,services/scheduler/main.c,$(call archive,services/scheduler) $(INBOX_READ) $(COMMON),-lsqlite3 $(LIBS_COMMON)))
$(eval $(call PROGRAM,orch-runner,services/runner/main.c,$(call archive,services/runner) $(call archive,lib/forge) $(COMMON),$(LIBS_COMMON)))
$(eval $(call PROGRAM,orch-keeper,services/runner/keeper_main.c,$(call archive,services/runner) $(call archive,lib),-ljansson))
$(eval $(call PROGRAM,orch-as,services/runner/as_main.c,$(call archive,lib),))
$(eval $(call PROGRAM,orch-reaper,services/reaper/main.c,$(call archive,services/reaper) $(COMMON),$(LIBS_COMMON)))
$(eval $(call PROGRAM,orch-reconciler,services/reconciler/main.c,$(call archive,services/reconciler) $(call archive,lib/tracker) $(call archive,lib/forge) $(COMMON),$(LIBS_COMMON)))
$(eval $(call PROGRAM,orch-monitor,services/monitor/main.c,$(call archive,services/monitor) $(COMMON),$(LIBS_COMMON)))
$(eval $(call PROGRAM,orch-notifier,services/notifier/main.c,$(call archive,services/notifier) $(call archive,lib/tracker) $(COMMON),$(LIBS_COMMON)))
$(eval $(call PROGRAM,orchctl,tools/orchctl_main.c,$(call archive,tools) $(COMMON),-lcurl $(LIBS_COMMON)))

# Generated documents; the table of configuration keys is checked before anything counts as built.
DOCS_TOOL := $(BUILD)/tool/docs
$(DOCS_TOOL): $(call objects,tools/docs_main.c) $(COMMON)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ -Wl,--start-group $^ -Wl,--end-group $(LIBS_COMMON)
	$@ --check
docs: $(DOCS_TOOL)
	$(DOCS_TOOL) configuration > docs/configuration.md
	$(DOCS_TOOL) protocol > docs/protocol.md

all: $(PROGRAMS) $(DOCS_TOOL)

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# .incbin: the compiler does not list what the assembler reads
$(BUILD)/obj/services/scheduler/migrations.o: services/scheduler/store.sql
$(BUILD)/obj/services/ingress/inbox_db.o: services/ingress/inbox.sql

define ARCHIVE
$(call archive,$(1)): $(call objects,$(call sources,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(AR) rcs $$@ $$^
endef
$(foreach folder,$(ARCHIVES),$(eval $(call ARCHIVE,$(folder))))

# ---- bench tools ----
BENCH_TOOLS := $(addprefix $(BUILD)/bench/,beat bare_loop next_reply bare_git stage_agent)
$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/restart/%.o $(COMMON)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ -Wl,--start-group $^ -Wl,--end-group $(LIBS_COMMON)
$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/stage/%.o
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -ljansson
BENCH_INGRESS_TOOLS := $(addprefix $(BUILD)/bench/,load sqlite_alone)
$(BENCH_INGRESS_TOOLS): $(BUILD)/bench/%: $(BUILD)/obj/tests/bench/ingress/%.o
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lsqlite3 -lnettle
$(BUILD)/bench/claim: $(BUILD)/obj/tests/bench/claim/claim.o $(call archive,services/scheduler) \
  $(BUILD)/obj/services/ingress/inbox_read.o $(COMMON)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ -Wl,--start-group $^ -Wl,--end-group -lsqlite3 $(LIBS_COMMON)
$(BUILD)/bench/hop: $(BUILD)/obj/tests/bench/hop/hop.o $(COMMON)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ -Wl,--start-group $^ -Wl,--end-group $(LIBS_COMMON)
bench-tools: all $(BENCH_TOOLS) $(BENCH_INGRESS_TOOLS) $(BUILD)/bench/claim $(BUILD)/bench/hop
bench: ; scripts/install-packages build run bench && $(MAKE) -j2 bench-tools && tests/bench/run
.PHONY: bench bench-tools
# ---- end of bench tools ----

# ---- test tools: programs that only tests start ----
TEST_TOOLS := $(patsubst tests/tools/%.c,$(BUILD)/test-bin/%,$(filter-out %_shim.c,$(wildcard tests/tools/*.c))) \
  $(BUILD)/test-bin/fault_shim.so
$(BUILD)/test-bin/%.so: tests/tools/%.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE -O1 -Wall -Wextra -Werror -shared -fPIC -o $@ $< -ldl
$(BUILD)/test-bin/%: $(BUILD)/obj/tests/tools/%.o $(COMMON)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ -Wl,--start-group $^ -Wl,--end-group $(LIBS_COMMON)
test-tools: $(TEST_TOOLS)
.PHONY: test-tools
# ---- end of test tools ----

# Unit tests: tests/unit/<folder with _>__<subject>_test.c links every archive; the linker takes what
# is used. Each runs alone and prints cmocka's lines.
UNIT_SOURCES := $(wildcard tests/unit/*_test.c)
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/test/%,$(UNIT_SOURCES))
UNIT_ARCHIVES := $(foreach folder,supervisor services/ingress services/scheduler services/runner \
  services/reaper services/reconciler services/monitor services/notifier tools lib/tracker lib/forge \
  protocol lib,$(call archive,$(folder)))
$(BUILD)/test/%: $(BUILD)/obj/tests/unit/%.o $(UNIT_ARCHIVES)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $< -Wl,--start-group $(UNIT_ARCHIVES) -Wl,--end-group -lcmocka -lsqlite3 \
	  -lmicrohttpd -lnettle -lcurl $(LIBS_COMMON)

unit-tests: $(UNIT_TESTS)
unit: $(UNIT_TESTS)
	@scripts/unit-tests $(BUILD)/test

# ---- checks ----
JOBS ?= $(shell nproc)
asan: ; $(MAKE) -j$(JOBS) BUILD=build/asan SAN=address,undefined unit
# Suites that make threads of their own: nng itself is not built with the sanitizer, so what it
# synchronises is named in the suppressions.
tsan: ; TSAN_OPTIONS="suppressions=$(CURDIR)/tests/tsan.supp halt_on_error=1" $(MAKE) BUILD=build/tsan SAN=thread tsan-run
tsan-run: $(filter $(BUILD)/test/protocol_% $(BUILD)/test/ingress_%,$(UNIT_TESTS))
	@scripts/unit-tests $(BUILD)/test

# Everything once more by clang, then each file by itself through clang-tidy: what is unchanged since it
# was found clean is not read again. cppcheck keeps its own record.
LINT_SOURCES := $(foreach folder,$(ARCHIVES) tests/tools tests/unit tests/fuzz,$(wildcard $(folder)/*.c))
lint:
	$(MAKE) -j$(JOBS) BUILD=build/clang CC=clang all test-tools unit-tests lint-files
	@echo "lint: $(words $(LINT_SOURCES)) passed, 0 failed, 0 skipped"
lint-files: $(LINT_SOURCES:%.c=$(BUILD)/lint/%.tidy) lint-cppcheck
$(BUILD)/lint/%.tidy: $(BUILD)/obj/%.o .clang-tidy
	@mkdir -p $(@D)
	clang-tidy --quiet $(TIDY) $*.c -- $(ALL_CFLAGS) 2>$@.err || { cat $@.err >&2; exit 1; }
	@mv $@.err $@
# NULL after the last argument is a pointer here (glibc); what a callee fills counts as read before that
lint-cppcheck:
	@mkdir -p $(BUILD)/lint/cppcheck
	cppcheck --quiet -j$(JOBS) --cppcheck-build-dir=$(BUILD)/lint/cppcheck --error-exitcode=1 --std=c11 \
	  --inline-suppr --enable=warning,performance,portability --library=tests/lint/headers.cfg \
	  --suppress=missingIncludeSystem --suppress=varFuncNullUB --suppress=ctuuninitvar -I. $(LINT_SOURCES)
# Fuzz targets: tests/fuzz/<name>_fuzz.c, built by clang with libFuzzer; FUZZ_S seconds for each.
FUZZ_S ?= 300
FUZZ_TARGETS := $(patsubst tests/fuzz/%_fuzz.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/*_fuzz.c))
$(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%_fuzz.o $(UNIT_ARCHIVES)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $< -Wl,--start-group $(UNIT_ARCHIVES) -Wl,--end-group \
	  -lsqlite3 -lmicrohttpd -lnettle -lcurl $(LIBS_COMMON)
fuzz-targets: $(FUZZ_TARGETS)
fuzz: ; scripts/fuzz --seconds $(FUZZ_S)
format: ; clang-format -i $(foreach folder,$(ARCHIVES) tests/unit tests/tools tests/fuzz,$(wildcard $(folder)/*.[ch]))
storm: ; scripts/storm --rounds 200
ROUNDS ?= 2000
soak: ; scripts/soak --rounds $(ROUNDS) --fuzz-seconds $(FUZZ_S)
# ---- end of checks ----

# ---- installation ----
# PREFIX is compiled in (defaults of sv/ and of the briefs); DESTDIR is for packagers.
SYSCONFDIR ?= $(if $(filter /usr /usr/local,$(PREFIX)),/etc,$(PREFIX)/etc)
SHARE := $(DESTDIR)$(PREFIX)/share/orchestrator
DOC := $(DESTDIR)$(PREFIX)/share/doc/orchestrator
CONFIG := $(DESTDIR)$(SYSCONFDIR)/orchestrator
UNIT := $(DESTDIR)$(PREFIX)/lib/systemd/system/orchestrator.service
SYSUSERS := $(DESTDIR)$(PREFIX)/lib/sysusers.d/orchestrator.conf
# A running program is replaced by rename. The configuration is a person's: one that is there stays.
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(SHARE)/demo $(DOC) $(CONFIG) $(dir $(UNIT)) $(dir $(SYSUSERS))
	for program in $(PROGRAMS); do \
	  install $$program $(DESTDIR)$(PREFIX)/bin/.$${program##*/}.new && \
	  mv -f $(DESTDIR)$(PREFIX)/bin/.$${program##*/}.new $(DESTDIR)$(PREFIX)/bin/$${program##*/} || exit 1; \
	done
	tar -cf - --exclude=supervise sv agents | tar -xf - --no-same-owner -C $(SHARE)
	install scripts/demo tests/agents/scripted_agent.py $(SHARE)/demo
	install -m 644 README.md CHANGELOG.md LICENSE docs/*.md $(DOC)
	sed 's|@PREFIX@|$(PREFIX)|' packaging/systemd/orchestrator.service >$(UNIT)
	install -m 644 packaging/systemd/sysusers.conf $(SYSUSERS)
	[ -e $(CONFIG)/orchestrator.yaml ] || install -m 644 packaging/orchestrator.yaml $(CONFIG)
	[ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || getent passwd orchestrator >/dev/null || \
	  useradd --system --home-dir /var/lib/orchestrator --shell /usr/sbin/nologin orchestrator
	[ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || getent passwd orchestrator-agent >/dev/null || \
	  useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin orchestrator-agent
# What people wrote stays: configuration, data, the users who own them.
uninstall:
	rm -f $(PROGRAMS:$(BUILD)/bin/%=$(DESTDIR)$(PREFIX)/bin/%) $(UNIT) $(SYSUSERS)
	rm -rf $(SHARE) $(DOC)

# ---- image ----
GIT_SHA ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
image: ; VERSION=$(VERSION) GIT_SHA=$(GIT_SHA) scripts/image
# ---- end of image ----

test: ; ./scripts/test
demo: ; ./scripts/demo
clean: ; rm -rf $(BUILD)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

.PHONY: uninstall image soak all asan tsan tsan-run lint lint-files lint-cppcheck fuzz fuzz-targets format storm docs unit install test demo clean
