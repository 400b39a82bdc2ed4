package main

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/pullwatch/pullwatch/internal/nodestatus"
	"github.com/pullwatch/pullwatch/test/node"
)

// large is the number of nodes for which the page sums up.
const large = 5000

// pair is the same work without and with agents.
type pair struct{ without, with span }

// report is all that was measured.
type report struct {
	*fleet
	rest, churn, kubelets pair
	start, restart        span
	ready                 time.Duration // from the start of the first agent until the last was ready
}

// page is docs/FLEET.md.
func (r *report) page() string {
	var out strings.Builder
	fmt.Fprintf(&out, `# A fleet

Made by `+"`make fleet`"+` on %s: %s, %d cores, %s/%s. Debian's etcd, kube-apiserver %s, %d nodes, and on each an agent
that is a process of its own. Everything shares the machine, which is noisy: read the ratios. A Node object is of %.1f KiB (10 conditions,
%d images), and there are %d pods on each, of %.1f KiB; %d of one node in %d cannot pull. No kubelet runs; where it says "heartbeats of
kubelets", a lease every %s and a status every %s are written for each node.
`, time.Now().UTC().Format("2006-01-02"), runtime.Version(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, node.KubernetesRelease,
		r.nodes, kib(r.nodeBytes), imagesOfNode, r.options.pods, kib(r.podBytes), brokenPods, brokenEvery, leaseEvery, statusEvery)
	for _, part := range []func(*strings.Builder){r.sum, r.cost, r.memory, r.asked, r.bursts} {
		part(&out)
	}
	return out.String()
}

func kib(bytes int) float64 { return float64(bytes) / 1024 }

// scaled is what a figure of this fleet is in the large one, where it grows with the number of nodes.
func (r *report) scaled(figure float64) float64 { return figure * large / float64(r.nodes) }

// sum is that for a large cluster.
func (r *report) sum(out *strings.Builder) {
	beat := nodestatus.Heartbeat
	writes := large / beat.Seconds()
	fmt.Fprintf(out, "\n## The sum for %d nodes\n\nWhat grows with the number of nodes, from the figures below.\n\n| | %d nodes | %d nodes |\n|---|---|---|\n", large, r.nodes, large)
	row := func(name, format string, figure float64) {
		fmt.Fprintf(out, "| %s | "+format+" | "+format+" |\n", name, figure, r.scaled(figure))
	}
	nodes := float64(r.nodes)
	row("writes of Node status by agents, one in "+minutes(beat), "%.1f/s", nodes/beat.Seconds())
	row("writes of Node status by kubelets, one in "+minutes(statusEvery), "%.1f/s", nodes/statusEvery.Seconds())
	row("writes of leases by kubelets, one in "+leaseEvery.String(), "%.0f/s", nodes/leaseEvery.Seconds())
	row("watches of agents that end and begin anew, each in 10 to 20 min", "%.1f/s", 2*nodes/(15*time.Minute).Seconds())
	row("all requests of agents at rest, measured", "%.2f/s", float64(len(r.rest.with.requests))/r.rest.with.seconds())
	row("open watches of agents", "%.0f", r.watches(r.rest.with.to)-r.watches(r.start.from))
	row("CPU of API server and etcd for agents at rest, ms/s", "%.0f", total(r.rest.with)-total(r.rest.without))
	row("CPU of API server and etcd for heartbeats of kubelets, ms/s", "%.0f", total(r.kubelets.without)-total(r.rest.without))
	row("heap of the API server for agents, MiB", "%.0f", node.MiB(r.rest.with.to.live-r.start.from.live))
	fmt.Fprintf(out, `
What does not grow in that way:

- Each write of a Node's status is an update for everybody who watches all nodes: scheduler, controllers, and daemons on each node that do so.
  Agents and kubelets watch their own Node alone. The agents' heartbeat is as frequent as the kubelets' and so doubles what such a watcher
  gets at rest: %.1f updates more in a second, of %.1f KiB, %.2f MiB/s in protobuf. Each is a write of the whole Node in etcd too.
  `+"`--node-conditions=false`"+` does without.
- A heartbeat is not more frequent where more goes wrong. A condition is written at once when its status changes, all in one patch, and an
  outage of one registry changes none.
- The API server finds the watch, and the list at its beginning, in an index by node: what an agent costs there does not grow with the cluster.
- All agents at once, as below, is worse than a rollout: the controller manager creates the pods of a DaemonSet at 20/s (its
  `+"`--kube-api-qps`"+`), %s for %d nodes, and an update replaces a tenth of them at a time. An API server that comes back is different: it
  listens before it serves, so that all wait at its door and come in its first seconds. What it answers with 403, before it knows anybody's
  rights, or with 429 comes again with the reflectors' back-off (client-go: 0.8 s to 30 s, doubling, with jitter). Nothing is written for it.
- Events are asked for pod by pod where a status leaves the cause open, at most 5/s by an agent. The API server has no index for them: it reads
  those of the pod's namespace. Agents ask as a service account, so its priority and fairness lets them wait, and kubelets go first.
`, writes, kib(r.nodeBytes), writes*kib(r.nodeBytes)/1024, (large / 20 * time.Second).String(), large)
}

func minutes(d time.Duration) string { return fmt.Sprintf("%.0f min", d.Minutes()) }

func total(s span) float64 { return s.apiserver() + s.etcd() }

// watches are those of pods and nodes.
func (r *report) watches(s sample) float64 {
	pods, _ := s.scrape.Sum("apiserver_longrunning_requests", `verb="WATCH"`, `resource="pods"`)
	nodes, _ := s.scrape.Sum("apiserver_longrunning_requests", `verb="WATCH"`, `resource="nodes"`)
	return pods + nodes
}

// cost is what the servers do.
func (r *report) cost(out *strings.Builder) {
	fmt.Fprintf(out, "\n## CPU and watch events\n\nCPU of the servers and what the API server sent to watches, without and with the agents. At rest is measured for %s without and %s\nwith them, the others for %s each; an agent took %.2f ms/s itself.\n\n",
		round(r.rest.without), round(r.rest.with), r.load, r.rest.with.agents())
	out.WriteString("| | API server, ms/s | etcd, ms/s | events/s | KiB/s |\n|---|---|---|---|---|\n")
	for _, row := range []struct {
		name string
		pair
	}{{"at rest", r.rest}, {fmt.Sprintf("%d pods a second change their status", churnRate), r.churn}, {"heartbeats of kubelets", r.kubelets}} {
		fmt.Fprintf(out, "| %s |", row.name)
		for _, figure := range []func(span) float64{
			span.apiserver, span.etcd,
			func(s span) float64 { return s.grew("apiserver_watch_events_total") },
			func(s span) float64 { return s.grew("apiserver_watch_events_sizes_sum") / 1024 },
		} {
			fmt.Fprintf(out, " %.1f → %.1f |", figure(row.without), figure(row.with))
		}
		out.WriteString("\n")
	}
	out.WriteString("\nAmong the events are bookmarks: one a minute on each watch.\n")
}

func round(s span) time.Duration { return s.to.early.at.Sub(s.from.late.at).Round(time.Second) }

// memory is that of the servers.
func (r *report) memory(out *strings.Builder) {
	before, after := r.start.from, r.rest.with.to
	fmt.Fprintf(out, "\n## Memory\n\nRight before the agents start, and after they were at rest for %s. The heap is read right after a collection.\n\n| | before | after | an agent |\n|---|---|---|---|\n", r.options.rest)
	row := func(name string, a, b int64) {
		fmt.Fprintf(out, "| %s | %.0f MiB | %.0f MiB | %.0f KiB |\n", name, node.MiB(a), node.MiB(b), float64(b-a)/1024/float64(r.nodes))
	}
	row("API server, live heap", before.live, after.live)
	row("API server, resident", before.early.apiserver.Resident, after.early.apiserver.Resident)
	row("etcd, resident", before.early.etcd.Resident, after.early.etcd.Resident)
	var anonymous int64
	for _, agent := range after.early.agents {
		anonymous += agent.Anonymous
	}
	fmt.Fprintf(out, "\nThe API server held %.0f watches before and %.0f after. An agent had %.1f MiB of anonymous memory itself.\n",
		r.watches(before), r.watches(after), node.MiB(anonymous)/float64(r.nodes))
}

// asked is what the agents asked, by kind.
func (r *report) asked(out *strings.Builder) {
	out.WriteString("\n## Requests\n\nOf all agents, from the API server's audit log; a watch is counted when it begins.\n\n| | start | at rest | pods change | kubelets beat | API server restarts |\n|---|---|---|---|---|---|\n")
	spans := []span{r.start, r.rest.with, r.churn.with, r.kubelets.with, r.restart}
	kinds := make(map[string]bool)
	for _, s := range spans {
		for kind := range s.kinds() {
			kinds[kind] = true
		}
	}
	line := func(name string, cell func(span) string) {
		fmt.Fprintf(out, "| %s |", name)
		for _, s := range spans {
			fmt.Fprintf(out, " %s |", cell(s))
		}
		out.WriteString("\n")
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		line(kind, func(s span) string { return fmt.Sprint(s.kinds()[kind]) })
	}
	line("measured for", func(s span) string { return round(s).String() })
	line("most in a second", func(s span) string { return fmt.Sprint(s.peak(isAny)) })
	line("most writes in a second", func(s span) string { return fmt.Sprint(s.peak(isWrite)) })
}

// bursts is how the requests of all agents at once spread.
func (r *report) bursts(out *strings.Builder) {
	fmt.Fprintf(out, "\n## All at once\n\nAll agents are started as fast as the machine can, and the last is ready after %s. Later the API server is stopped and started; the last\nwatch begins %s after the first request that it gets. Requests and, of them, writes in each second from the first request on:\n\n| | |\n|---|---|\n",
		r.ready.Round(100*time.Millisecond), r.restart.lastWatch().Round(100*time.Millisecond))
	fmt.Fprintf(out, "| start, requests | %s |\n", counts(r.start.per(time.Second, isAny)))
	fmt.Fprintf(out, "| start, writes | %s |\n", counts(r.start.per(time.Second, isWrite)))
	fmt.Fprintf(out, "| restart, requests | %s |\n", counts(r.restart.per(time.Second, isAny)))
	fmt.Fprintf(out, "| restart, writes | %s |\n", counts(r.restart.per(time.Second, isWrite)))
	fmt.Fprintf(out, "\nHow the heartbeats spread after such a start, writes in each minute at rest from the first request on: %s.\n", counts(r.rest.with.per(time.Minute, isWrite)))
	cpu := r.start.apiserver() * r.start.seconds()
	fmt.Fprintf(out, "\nIn the %s of the start the API server took %.1f s of CPU, %.1f ms for each agent.\n", round(r.start), cpu/1000, cpu/float64(r.nodes))
}

// counts lists the first 40.
func counts(all []int) string {
	return strings.Trim(fmt.Sprint(all[:min(len(all), 40)]), "[]")
}
