package monitored

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pullwatch/pullwatch/test/node"
)

// Names of the processes that watch, on the node's record: they end with the node.
const (
	prometheusPart   = "prometheus"
	alertmanagerPart = "alertmanager"
)

// heldFor is what the rules' minutes become.
const heldFor = "3s"

// watch is a Prometheus with the rules as they are shipped but for their durations, an Alertmanager, and whom that one tells.
type watch struct {
	n    *node.Node
	host string // an address of loopback that is this process's own: no port on it is anybody else's

	mu   sync.Mutex
	told []notice
}

// notice is an alert in a notification of Alertmanager.
type notice struct {
	Status      string
	Labels      map[string]string
	Annotations map[string]string
}

func newWatch(n *node.Node) *watch {
	return &watch{n: n, host: fmt.Sprintf("127.67.%d.%d", os.Getpid()>>8&0xff, os.Getpid()&0xff)}
}

func (w *watch) at(port int) string { return net.JoinHostPort(w.host, strconv.Itoa(port)) }

func (w *watch) prometheus() string   { return w.at(9090) }
func (w *watch) alertmanager() string { return w.at(9093) }
func (w *watch) receiver() string     { return w.at(9094) }

// start runs all of it. The targets are those of /metrics by the name of their node.
func (w *watch) start(ctx context.Context, targets map[string]string) error {
	dir := filepath.Join(w.n.Dir, "watch")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files := map[string]string{"alertmanager.yaml": fmt.Sprintf(`
route: {receiver: test, group_by: [alertname, registry, node], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}
receivers: [{name: test, webhook_configs: [{url: "http://%s/", send_resolved: true}]}]
`, w.receiver())}
	var scraped strings.Builder
	for name, target := range targets {
		fmt.Fprintf(&scraped, "      - {targets: [%q], labels: {node: %q}}\n", target, name)
	}
	files["prometheus.yaml"] = fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yaml, optional-rules.yaml]
alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}
scrape_configs:
  - job_name: agents
    static_configs:
%s`, w.alertmanager(), scraped.String())
	for name := range ruleFiles {
		text, err := os.ReadFile(filepath.Join(manifests, name))
		if err != nil {
			return err
		}
		files[name] = shorten(string(text), heldFor)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := w.receive(ctx); err != nil {
		return err
	}
	if err := w.n.Spawn(alertmanagerPart, []string{
		"prometheus-alertmanager", "--config.file=" + filepath.Join(dir, "alertmanager.yaml"), "--storage.path=" + filepath.Join(dir, "alertmanager"),
		"--web.listen-address=" + w.alertmanager(), "--cluster.listen-address=",
	}); err != nil {
		return err
	}
	return w.n.Spawn(prometheusPart, []string{
		"prometheus", "--config.file=" + filepath.Join(dir, "prometheus.yaml"), "--storage.tsdb.path=" + filepath.Join(dir, "prometheus"),
		"--web.listen-address=" + w.prometheus(), "--rules.alert.resend-delay=1s", "--log.level=warn",
	})
}

// receive listens for Alertmanager's notifications until ctx ends.
func (w *watch) receive(ctx context.Context) error {
	l, err := net.Listen("tcp", w.receiver())
	if err != nil {
		return err
	}
	s := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct{ Alerts []notice }
		if json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&body) == nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.told = append(w.told, body.Alerts...)
		}
	})}
	context.AfterFunc(ctx, func() { _ = s.Close() })
	go func() { _ = s.Serve(l) }()
	return nil
}

// notified is the newest notice of an alert with these labels.
func (w *watch) notified(labels map[string]string) (last notice, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	err = fmt.Errorf("nobody was told of %v", labels)
	for _, n := range w.told {
		if within(labels, n.Labels) {
			last, err = n, nil
		}
	}
	return last, err
}

// within tells whether all of the labels are among others.
func within(labels, others map[string]string) bool {
	for name, value := range labels {
		if others[name] != value {
			return false
		}
	}
	return true
}

// sample is one series of an answer.
type sample struct {
	labels map[string]string
	value  float64
}

// instant asks Prometheus for a query's value now.
func (w *watch) instant(ctx context.Context, query string) (samples []sample, err error) {
	var answer struct {
		Data struct {
			ResultType string
			Result     []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
		Error string
	}
	if err := ask(ctx, w.prometheus(), "/api/v1/query?query="+url.QueryEscape(query), &answer); err != nil {
		return nil, fmt.Errorf("%s: %w", query, err)
	}
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", query, err)
		}
		samples = append(samples, sample{r.Metric, value})
	}
	return samples, nil
}

// firing are the alerts that fire in Prometheus.
func (w *watch) firing(ctx context.Context) (alerts []notice, err error) {
	var answer struct {
		Data struct {
			Alerts []struct {
				State string
				notice
			}
		}
	}
	if err := ask(ctx, w.prometheus(), "/api/v1/alerts", &answer); err != nil {
		return nil, err
	}
	for _, a := range answer.Data.Alerts {
		if a.State == "firing" {
			a.Status = a.State
			alerts = append(alerts, a.notice)
		}
	}
	return alerts, nil
}

// active are the alerts that Alertmanager has.
func (w *watch) active(ctx context.Context) (alerts []notice, err error) {
	var answer []struct {
		Labels, Annotations map[string]string
	}
	if err := ask(ctx, w.alertmanager(), "/api/v2/alerts?active=true", &answer); err != nil {
		return nil, err
	}
	for _, a := range answer {
		alerts = append(alerts, notice{"active", a.Labels, a.Annotations})
	}
	return alerts, nil
}

// ask gets JSON, by no proxy.
func ask(ctx context.Context, address, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, &body)
	}
	return json.Unmarshal(body.Bytes(), into)
}
