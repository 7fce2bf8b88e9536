# wayside as a container image: one static binary, no shell, not root.
#
#   docker build -t wayside .
#   docker run -p 8090:8090 -v wayside:/data -e WAYSIDE_UPSTREAM=http://app:3000 wayside
#
# scripts/check-dockerfile.sh follows this file without a container engine; it knows the instructions used here.

FROM golang:1.26.11 AS build
WORKDIR /src

# The modules change less often than the source: their layer is kept.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/wayside ./cmd/wayside
RUN mkdir -p /out/data

FROM gcr.io/distroless/static:nonroot
COPY --from=build /out/wayside /wayside
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
