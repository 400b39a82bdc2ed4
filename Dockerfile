# The agent in an empty image: one static program, no shell, not root.
#
# It is compiled on the machine that builds, for the platform that is asked for, so no emulation is needed. BUILD is any image with Go;
# BASE may be anything, the program needs nothing of it.
ARG BUILD=golang:1.26
ARG BASE=scratch

FROM --platform=${BUILDPLATFORM:-linux/amd64} ${BUILD} AS build
# Set by the builder where it is told a platform; empty is that of the machine that builds.
ARG TARGETOS
ARG TARGETARCH
ARG TARGETVARIANT
ARG VERSION=0.0.0-dev
ARG REVISION=
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY cmd cmd
COPY internal internal
COPY pkg pkg
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} GOARM=${TARGETVARIANT#v} \
    go build -trimpath -ldflags "-s -w -X main.version=${VERSION} -X main.revision=${REVISION}" -o /out/pullwatch ./cmd/agent

FROM ${BASE}
ARG VERSION=0.0.0-dev
ARG REVISION=
LABEL org.opencontainers.image.title="pullwatch" \
      org.opencontainers.image.description="The agent on every node that knows why images cannot be pulled" \
      org.opencontainers.image.source="https://github.com/pullwatch/pullwatch" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/pullwatch /pullwatch
USER 65532:65532
ENTRYPOINT ["/pullwatch"]
CMD ["run"]
