// Package chart holds the two ways to install the agent, manifests/chart and the kustomizations beside it, to each other and to what the
// chart's own page says of its values.
//
// It renders and lints with Helm's own library, which compiles in a fraction of the time of its program; test/node/e2e installs with that.
package chart
