# syntax=docker/dockerfile:1
# One image per program, chosen by the build argument BIN: user, catalog, order-payment, personalization, payment-simulator,
# edge-tracer, jwks-sync, demo. All of them share the build stage, so the workspace is compiled once.
#
# The last stage is what a cluster runs: the program, the libraries that the loader names for it, certificates; no shell, no package manager,
# not root. The stage `laptop` is the program with a shell, for the health checks of docker-compose.yml.
#
# Written where no container engine was to be had: not built yet. `deploy/images/build` builds and weighs all of them, or lints this file.

FROM rust:1.95-bookworm AS build
# mold is named in .cargo/config.toml; OpenSSL is what the Kafka client links to.
RUN apt-get update \
    && apt-get install -y --no-install-recommends mold libssl-dev pkg-config cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked \
        -p user -p catalog -p order-payment -p personalization -p payment-simulator -p edge-tracer -p jwks-sync -p demo \
    && for bin in user catalog order-payment personalization payment-simulator edge-tracer jwks-sync demo; do \
        install -D "target/dist/$bin" "/out/$bin/usr/local/bin/program" \
        && ldd "target/dist/$bin" | grep -o '/[^ ]*' | xargs cp --parents --dereference --target-directory="/out/$bin" \
        && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "/out/$bin/etc/ssl/certs/ca-certificates.crt" \
        && echo 'shopsphere:x:10001:10001::/:/nonexistent' >"/out/$bin/etc/passwd" \
        && install -d -m 1777 "/out/$bin/tmp" \
        || exit 1; \
    done

FROM debian:12-slim AS laptop
ARG BIN
RUN test -n "${BIN}" \
    && apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin shopsphere \
    && install -d -o shopsphere -g shopsphere -m 0700 /data
# The name is the same in every image, so that the entry point can be.
COPY --from=build /out/${BIN}/usr/local/bin/program /usr/local/bin/program
USER 10001:10001
ENTRYPOINT ["/usr/local/bin/program"]

# A base of others has tables and libraries that nobody opens, and lacked one that the Kafka client does (zlib).
FROM scratch AS cluster
ARG BIN
COPY --from=build /out/${BIN} /
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 10001:10001
ENTRYPOINT ["/usr/local/bin/program"]
