# The whole machine in one image, the supervisor as PID 1.
#   make image        builds orchestrator:VERSION and orchestrator:latest
#   docker run -d -v orchestrator:/var/lib/orchestrator -p 127.0.0.1:8500:8500 orchestrator
# docs/operations.md says what to mount and how it stops. Nothing here needs BuildKit.
FROM debian:trixie-slim AS build
COPY scripts/install-packages /src/scripts/
RUN /src/scripts/install-packages build
COPY . /src
RUN make -C /src -j2 all && make -C /src DESTDIR=/out install

FROM debian:trixie-slim
# gitleaks is the scanner of the gates; python3 runs the demo's scripted agent
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        ca-certificates git gitleaks libcap2-bin openssh-client python3-minimal \
        libcurl4t64 libjansson4 libmicrohttpd12t64 libnettle8t64 libnng1 libsqlite3-0 libyaml-0-2 \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log \
    && groupadd --system --gid 900 orchestrator \
    && useradd --system --uid 900 --gid 900 --home-dir /var/lib/orchestrator --shell /bin/sh orchestrator \
    && groupadd --system --gid 901 orchestrator-agent \
    && useradd --system --uid 901 --gid 901 --home-dir /nonexistent --shell /usr/sbin/nologin orchestrator-agent \
    && install -d -o orchestrator -g orchestrator -m 0711 /var/lib/orchestrator \
    && install -d -o orchestrator -g orchestrator -m 0700 /run/orchestrator
COPY --from=build /out /
# What the runner needs for agents of another user; the supervisor hands it on to that one service. Not
# effective by themselves, so that the program starts where they are taken away, too.
RUN setcap cap_setuid,cap_setgid,cap_chown,cap_kill+p /usr/local/bin/orchestrator
ARG GIT_SHA=unknown
ARG VERSION=unknown
LABEL org.opencontainers.image.title=orchestrator \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$GIT_SHA
# Where a mounted configuration names neither, and in front of one that does.
ENV ORCH_HOME=/var/lib/orchestrator ORCH_RUN_DIR=/run/orchestrator ORCH_HTTP_LISTEN=0.0.0.0:8500 \
    ORCH_AGENT_USER=orchestrator-agent \
    LANG=C.UTF-8
USER orchestrator
WORKDIR /var/lib/orchestrator
VOLUME /var/lib/orchestrator /run/orchestrator
EXPOSE 8500
# Also while it is degraded: a service that is down is the supervisor's matter, not docker's.
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s --retries=4 CMD ["orchctl", "status"]
STOPSIGNAL SIGTERM
CMD ["orchestrator", "run"]
