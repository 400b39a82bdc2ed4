// Package monitored holds what operators watch the agent with: the alerts and dashboards of manifests/monitoring and the pages of
// docs/runbooks.
//
// It promises:
//   - the cheap tests (-short) read files alone, and ask promtool and the program's own help: every alert is tested and has a page, every
//     page an alert or a cause, and whatever they name exists;
//   - the others run the real agent, Prometheus and Alertmanager against registries that die, with the very rules and queries that are
//     shipped. Only durations are shortened.
package monitored
