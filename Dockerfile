# wayside as a container image: one static binary, no shell, not root.
#
#   docker build -t wayside:0.1.0 --build-arg VERSION=0.1.0 --build-arg COMMIT="$(git rev-parse HEAD)" .
#   docker run -p 8090:8090 -v wayside:/data -e WAYSIDE_UPSTREAM=http://app:3000 wayside:0.1.0
#
# The bases are pinned to a version. To pin their content as well, write what `docker buildx imagetools inspect NAME` says behind the
# name, as NAME@sha256:….
#
# scripts/check-dockerfile.sh follows this file without a container engine; it knows the instructions used here.

FROM --platform=$BUILDPLATFORM golang:1.26.11 AS build
WORKDIR /src

# The modules change less often than the source: their layer is kept.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
ARG VERSION=dev
ARG COMMIT=
ARG TARGETOS
ARG TARGETARCH
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build -trimpath -ldflags "-s -w -X main.version=${VERSION} -X main.commit=${COMMIT}" -o /out/wayside ./cmd/wayside
RUN mkdir -p /out/data

FROM gcr.io/distroless/static-debian12:nonroot
ARG VERSION=dev
ARG COMMIT=
LABEL org.opencontainers.image.title="wayside" \
    org.opencontainers.image.description="A reverse proxy that keeps the books" \
    org.opencontainers.image.source="https://github.com/wayside-proxy/wayside" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${COMMIT}"

COPY --from=build /out/wayside /wayside
COPY --from=build /src/LICENSE /src/NOTICE /src/THIRD_PARTY_LICENSES /licenses/
# A new volume takes its owner from here.
COPY --from=build --chown=65532:65532 /out/data /data

# The admin listener stays on loopback; :8092 serves only /livez, /readyz and /metrics.
# These stand below a mounted configuration file, and below WAYSIDE_LISTEN and the like of the container.
ENV WAYSIDE_DEFAULT_LISTEN=:8090 \
    WAYSIDE_DEFAULT_DATA=/data \
    WAYSIDE_DEFAULT_ADMIN_PROBES=:8092

VOLUME /data
EXPOSE 8090 8092
USER 65532:65532

# The binary asks itself: there is no curl here.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["/wayside", "health"]

ENTRYPOINT ["/wayside"]
CMD ["run"]
