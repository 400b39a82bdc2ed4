package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pullwatch/pullwatch/test/node"
)

const (
	agentPart = "agent"
	peerPart  = "peer"
	peerName  = "prometheus-node-exporter"
)

// run is one run of the benchmarks.
type run struct {
	n        *node.Node
	bin      string
	socket   string
	peerAddr string
	progress *node.Progress
}

func (b *run) startBoth(ctx context.Context) error {
	b.socket = filepath.Join(b.n.Dir, "pullwatch.sock")
	if err := b.n.Spawn(agentPart, []string{
		b.bin, "run", "--node-name", b.n.NodeName, "--kubeconfig", b.n.AgentKubeconfig(), "-r", b.n.CRISocket(),
		"--listen-address", b.n.Addr(agentPart), "--socket", b.socket,
	}); err != nil {
		return err
	}
	peer, err := exec.LookPath(peerName)
	if err != nil {
		return fmt.Errorf("the peer is missing: apt-get install %s", peerName)
	}
	if b.peerAddr, err = node.FreeAddress(); err != nil {
		return err
	}
	if err := b.n.Spawn(peerPart, []string{peer, "--web.listen-address", b.peerAddr}); err != nil {
		return err
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		err := errors.Join(fetch(ctx, "http://"+b.n.Addr(agentPart)+"/readyz", io.Discard), fetch(ctx, "http://"+b.peerAddr+"/metrics", io.Discard))
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

func fetch(ctx context.Context, url string, to io.Writer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	_, err = io.Copy(to, response.Body)
	return err
}

// atRest reads both after a while in which nobody but the scraper asked anything.
func (b *run) atRest(ctx context.Context, out *strings.Builder, rest time.Duration, binary int64) error {
	begin := time.Now()
	ours, peer := b.n.PID(agentPart), b.n.PID(peerPart)
	var half [2]node.Usage
	var halfAt time.Time
	for next := begin; time.Since(begin) < rest; next = next.Add(15 * time.Second) {
		if err := node.Sleep(ctx, time.Until(next)); err != nil {
			return err
		}
		if err := errors.Join(fetch(ctx, "http://"+b.n.Addr(agentPart)+"/metrics", io.Discard), fetch(ctx, "http://"+b.peerAddr+"/metrics", io.Discard)); err != nil {
			return err
		}
		if time.Since(begin) >= rest/2 && halfAt.IsZero() {
			var err error
			if half, err = both(ours, peer); err != nil {
				return err
			}
			halfAt = time.Now()
		}
		b.progress.Say("at rest for %s of %s", time.Since(begin).Round(time.Second), rest)
	}
	now, err := both(ours, peer)
	if err != nil {
		return err
	}
	perSecond := func(i int) float64 {
		return (now[i].CPU - half[i].CPU).Seconds() * 1000 / time.Since(halfAt).Seconds()
	}
	fmt.Fprintf(out, "\n## At rest\n\n%d pods, half of them broken, and %d images, after %s. CPU is that of the second half.\n\n| | pullwatch | goal | %s | ratio |\n|---|---|---|---|---|\n",
		pods, images, rest, peerName)
	row := func(name, goal, unit string, ours, peer float64) {
		fmt.Fprintf(out, "| %s | %.1f %s | %s | %.1f %s | %.2f |\n", name, ours, unit, goal, peer, unit, ours/peer)
	}
	row("anonymous memory", "9", "MiB", node.MiB(now[0].Anonymous), node.MiB(now[1].Anonymous))
	row("resident memory", "28", "MiB", node.MiB(now[0].Resident), node.MiB(now[1].Resident))
	row("CPU", "2", "ms/s", perSecond(0), perSecond(1))
	fmt.Fprintf(out, "| binary | %.1f MiB | 28 | | |\n", node.MiB(binary))
	return nil
}

func both(a, b int) (u [2]node.Usage, err error) {
	var errA, errB error
	u[0], errA = node.UsageOf(a)
	u[1], errB = node.UsageOf(b)
	return u, errors.Join(errA, errB)
}

// latencyPods begin to fail in rounds, since a kubelet takes no more than 110 pods.
const (
	latencyRounds = 4
	latencyPods   = 25 // a round
)

// latency measures from the kubelet's write of a waiting status, as the API server recorded it, until the cause is in the snapshot that
// `failures` prints and in /metrics, each asked for every 5 ms.
func (b *run) latency(ctx context.Context, out *strings.Builder) error {
	watch, stop := context.WithCancel(ctx)
	defer stop()
	inFailures, inMetrics := make(chan map[string]time.Time, 1), make(chan map[string]time.Time, 1)
	unix := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", b.socket)
	}}}
	go func() { inFailures <- firstSeen(watch, unix, "http://pullwatch/v1/snapshot", snapshotPods) }()
	go func() {
		inMetrics <- firstSeen(watch, http.DefaultClient, "http://"+b.n.Addr(agentPart)+"/metrics", metricPods)
	}()
	var names []string
	for round := range latencyRounds {
		b.progress.Say("latency: round %d of %d", round+1, latencyRounds)
		more, err := b.failAll(ctx, fmt.Sprintf("latency-%d", round), latencyPods, func(pod string) string {
			return b.n.Registry().Ref("shop/never-pushed:" + pod)
		})
		if err != nil {
			return err
		}
		names = append(names, more...)
	}
	stop()
	failures, metrics := <-inFailures, <-inMetrics
	var toFailures, toMetrics []time.Duration
	for _, name := range names {
		writes, err := b.n.WaitingWrites(metav1.NamespaceDefault, name, "ErrImagePull")
		if err != nil || len(writes) == 0 {
			return fmt.Errorf("the audit log has no write for %s: %w", name, err)
		}
		if failures[name].IsZero() || metrics[name].IsZero() {
			return fmt.Errorf("%s was never seen", name)
		}
		// The request's arrival is the earliest moment at which the API server can have known.
		toFailures = append(toFailures, failures[name].Sub(writes[0].Received))
		toMetrics = append(toMetrics, metrics[name].Sub(writes[0].Received))
	}
	fmt.Fprintf(out, "\n## From the kubelet's write to the cause\n\n%d pods that begin to fail, on a node with %d others. From the arrival of the kubelet's status patch at the API server (its\naudit log) until the cause is seen; each place is asked every 5 ms. The goal is 99 of 100 within 250 ms.\n\n| | median | 90th | 99th | worst |\n|---|---|---|---|---|\n", len(names), pods)
	for _, r := range []struct {
		name  string
		times []time.Duration
	}{{"`failures` (snapshot on the socket)", toFailures}, {"`/metrics`", toMetrics}} {
		slices.Sort(r.times)
		at := func(q int) time.Duration {
			return r.times[min(len(r.times)*q/100, len(r.times)-1)].Round(100 * time.Microsecond)
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s | %s |\n", r.name, at(50), at(90), at(99), at(100))
	}
	return nil
}

// failAll has pods fail one after another, waits until the kubelet has said so of each, and deletes them.
func (b *run) failAll(ctx context.Context, prefix string, count int, image func(pod string) string) (names []string, err error) {
	for i := range count {
		name := fmt.Sprintf("%s-%d", prefix, i)
		names = append(names, name)
		if _, err := b.n.CreatePod(ctx, b.n.Pod(name, image(name))); err != nil {
			return nil, err
		}
		if err := node.Sleep(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		if _, err := b.n.WaitWaiting(ctx, metav1.NamespaceDefault, name, "ErrImagePull", "ImagePullBackOff"); err != nil {
			return nil, err
		}
	}
	if err := node.Sleep(ctx, time.Second); err != nil { // whoever watches sees the last one too
		return nil, err
	}
	for _, name := range names {
		if err := b.n.DeletePod(ctx, metav1.NamespaceDefault, name); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// firstSeen asks until ctx ends and notes when each pod was first in an answer.
func firstSeen(ctx context.Context, client *http.Client, url string, podsIn func(io.Reader) []string) map[string]time.Time {
	seen := make(map[string]time.Time)
	for ctx.Err() == nil {
		if request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil); err == nil {
			if response, err := client.Do(request); err == nil {
				names := podsIn(response.Body)
				_ = response.Body.Close()
				now := time.Now()
				for _, name := range names {
					if seen[name].IsZero() {
						seen[name] = now
					}
				}
			}
		}
		_ = node.Sleep(ctx, 5*time.Millisecond)
	}
	return seen
}

func snapshotPods(r io.Reader) (names []string) {
	var s struct {
		Failures struct {
			Value []struct{ Pod, Cause string }
		}
	}
	_ = json.NewDecoder(r).Decode(&s)
	for _, f := range s.Failures.Value {
		if f.Cause == "not_found" {
			names = append(names, f.Pod)
		}
	}
	return names
}

func metricPods(r io.Reader) (names []string) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "pullwatch_container_failing_since") && strings.Contains(line, `cause="not_found"`) {
			_, rest, _ := strings.Cut(line, `pod="`)
			name, _, _ := strings.Cut(rest, `"`)
			names = append(names, name)
		}
	}
	return names
}

// commands times what a person types.
func (b *run) commands(ctx context.Context, out *strings.Builder) error {
	fmt.Fprintf(out, "\n## At the prompt\n\nMedian of 21 runs. `crictl images` on %d tags took 30 ms and 27 MiB on such a machine (it is not to be had here).\n\n| | wall | CPU | peak resident |\n|---|---|---|---|\n", images)
	for _, args := range [][]string{{"images", "-r", b.n.CRISocket()}, {"failures", "--socket", b.socket}, {"version", "-r", b.n.CRISocket()}} {
		var wall, cpu []time.Duration
		peak, err := peakResident(ctx, b.bin, args)
		if err != nil {
			return err
		}
		for range 21 {
			cmd := exec.CommandContext(ctx, b.bin, args...)
			begin := time.Now()
			err := cmd.Run()
			wall = append(wall, time.Since(begin))
			var exit *exec.ExitError
			if err != nil && (!errors.As(err, &exit) || exit.ExitCode() > 1) {
				return fmt.Errorf("%v: %w", args, err)
			}
			cpu = append(cpu, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
		}
		slices.Sort(wall)
		slices.Sort(cpu)
		fmt.Fprintf(out, "| `pullwatch %s` | %s | %s | %.1f MiB |\n", args[0], wall[10].Round(100*time.Microsecond), cpu[10].Round(100*time.Microsecond), node.MiB(peak))
	}
	return nil
}

// peakResident is the most that one run had resident, in bytes, as time(1) tells it: the kernel's own figure for a child begins at what its
// parent had.
func peakResident(ctx context.Context, bin string, args []string) (int64, error) {
	cmd := exec.CommandContext(ctx, "/usr/bin/time", append([]string{"-q", "-f", "%M", bin}, args...)...)
	var said strings.Builder
	cmd.Stderr = &said
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		return 0, fmt.Errorf("%w: apt-get install time", err)
	}
	lines := strings.Split(strings.TrimSpace(said.String()), "\n")
	kib, err := strconv.ParseInt(lines[len(lines)-1], 10, 64)
	return kib << 10, err
}

// soak has pods with ever new names and registries come and go, and reads what is left of it.
func (b *run) soak(ctx context.Context, out *strings.Builder) error {
	const rounds, each = 12, 25
	before, err := b.level(ctx)
	if err != nil {
		return err
	}
	for round := range rounds {
		b.progress.Say("soak: round %d of %d", round+1, rounds)
		if _, err := b.failAll(ctx, fmt.Sprintf("soak-%d", round), each, func(pod string) string { return pod + ".soak.invalid/a/b:c" }); err != nil {
			return err
		}
	}
	if err := node.Sleep(ctx, 20*time.Second); err != nil {
		return err
	}
	after, err := b.level(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n## Pods and registries that come and go\n\n%d pods, each with a registry of its own that does not exist, in rounds of %d.\n\n| | before | after |\n|---|---|---|\n", rounds*each, each)
	for i, name := range []string{"anonymous memory, MiB", "goroutines", "descriptors", "series of /metrics"} {
		fmt.Fprintf(out, "| %s | %.1f | %.1f |\n", name, before[i], after[i])
	}
	return nil
}

// level is anonymous memory in MiB, goroutines, descriptors and series.
func (b *run) level(ctx context.Context) (level [4]float64, err error) {
	u, err := node.UsageOf(b.n.PID(agentPart))
	if err != nil {
		return level, err
	}
	var text strings.Builder
	if err := fetch(ctx, "http://"+b.n.Addr(agentPart)+"/metrics", &text); err != nil {
		return level, err
	}
	level[0], level[2] = node.MiB(u.Anonymous), float64(u.Descriptors)
	for line := range strings.Lines(text.String()) {
		if !strings.HasPrefix(line, "#") {
			level[3]++
		}
		if value, ok := strings.CutPrefix(line, "go_goroutines "); ok {
			level[1], _ = strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return level, nil
}

// classifier runs its Go benchmark.
func classifier(ctx context.Context, out *strings.Builder) error {
	fields, err := goBenchmark(ctx, "./pkg/cause", "Classify")
	if err == nil {
		fmt.Fprintf(out, "\n## The classifier\n\nOver `pkg/cause/testdata`, what real programs printed: %s ns a message on average, %s bytes and %s allocations a run over all of it.\nThe goal is 5,000 ns and none. `go test -bench Classify ./pkg/cause`\n", fields[4], fields[6], fields[8])
	}
	return err
}

// largeNode runs the Go benchmark of what the agent does again and again there.
func largeNode(ctx context.Context, out *strings.Builder) error {
	fields, err := goBenchmark(ctx, "./internal/agent", "SteadyPass")
	if err == nil {
		fmt.Fprintf(out, "\n## A large node\n\nOne look at 2,000 images, 250 containers and the disks: %s ns and %s bytes, the fake runtime in the same process included. The goals are\n50 ms and 6 MiB. `go test -run xxx -bench SteadyPass ./internal/agent`\n", fields[2], fields[4])
	}
	return err
}

// scrape runs that of a scrape of a busy node.
func scrape(ctx context.Context, out *strings.Builder) error {
	fields, err := goBenchmark(ctx, "./pkg/metrics", "Scrape")
	if err == nil {
		fmt.Fprintf(out, "\n## A scrape\n\nOf a node with 110 pods, 20 of them failing, and 20 registries: %s ns. The goal is 5 ms; a test holds its series to 600, and to 1,000 after a\ntenant has made up 2,000 registries within an hour. `go test -run BusyNode -v -bench Scrape ./pkg/metrics`\n", fields[2])
	}
	return err
}

// goBenchmark runs one, and gives the words of its line.
func goBenchmark(ctx context.Context, pkg, name string) (fields []string, err error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", name, "-benchtime", "2s", pkg)
	cmd.Dir = filepath.Join("..", "..")
	text, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go test -bench: %w\n%s", err, text)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); strings.HasPrefix(line, "Benchmark"+name) && len(fields) >= 8 {
			return append(fields, "", ""), nil
		}
	}
	return nil, fmt.Errorf("go test -bench: no result in\n%s", text)
}
