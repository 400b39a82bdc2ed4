package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pullwatch/pullwatch/test/node"
)

// What kubelets write on their own account, by default: the lease every quarter of its 40 s, the Node's status every 5 minutes.
const (
	leaseEvery  = 10 * time.Second
	statusEvery = 5 * time.Minute
)

// churnRate is how many pods change their status in a second, in the whole cluster.
const churnRate = 10

// agentName is an agent's name among the processes.
func agentName(i int) string { return "agent-" + nodeName(i) }

func (f *fleet) agentSocket(i int) string { return filepath.Join(f.n.Dir, "agents", nodeName(i)) }

// startAgents starts all agents as fast as this machine can, and tells how long it took until the last was ready.
func (f *fleet) startAgents(ctx context.Context) (time.Duration, error) {
	if err := os.MkdirAll(filepath.Join(f.n.Dir, "agents"), 0o755); err != nil {
		return 0, err
	}
	begin := time.Now()
	for i := range f.nodes {
		if err := f.n.Spawn(agentName(i), []string{
			f.agent, "run", "--node-name", nodeName(i), "--kubeconfig", f.n.AgentKubeconfig(), "-r", f.runtime.Endpoint(),
			"--listen-address", "", "--page-address", "", "--socket", f.agentSocket(i),
		}); err != nil {
			return 0, err
		}
		f.agentPIDs = append(f.agentPIDs, f.n.PID(agentName(i)))
	}
	for i := range f.nodes {
		if err := f.waitReady(ctx, i); err != nil {
			return 0, err
		}
	}
	return time.Since(begin), nil
}

func (f *fleet) waitReady(ctx context.Context, i int) error {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", f.agentSocket(i))
	}
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
	for {
		response, err := client.Get("http://pullwatch/readyz")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(response.Status)
		}
		if node.Sleep(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("the agent of %s is not ready: %w\nits log is %s", nodeName(i), err, f.n.LogFile(agentName(i)))
		}
	}
}

// churn has pods change, each of another node than the one before, until ctx ends.
func (f *fleet) churn(ctx context.Context) error {
	tick := time.NewTicker(time.Second / churnRate)
	defer tick.Stop()
	for k := 0; ; k++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		i, j := k%f.nodes, f.pods-1-k/f.nodes%f.pods
		status := corev1.ConditionFalse
		if k/f.nodes/f.pods%2 == 1 {
			status = corev1.ConditionTrue
		}
		patch := fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","status":%q,"lastTransitionTime":%q}]}}`, status, time.Now().UTC().Format(time.RFC3339))
		_, err := f.client.CoreV1().Pods(namespaceOf(j)).Patch(ctx, podName(i, j), types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// kubelets writes what the kubelets of all nodes write when nothing happens, until ctx ends. (Their watches are not stood in for.)
func (f *fleet) kubelets(ctx context.Context) error {
	var g errgroup.Group
	for i := range f.nodes {
		g.Go(func() error { return f.renewLease(ctx, i) })
		g.Go(func() error { return f.reportStatus(ctx, i) })
	}
	return g.Wait()
}

// every calls do at its interval, the first time anywhere within it, until ctx ends.
func every(ctx context.Context, interval time.Duration, do func() error) error {
	for wait := rand.N(interval); node.Sleep(ctx, wait) == nil; wait = interval {
		if err := do(); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (f *fleet) renewLease(ctx context.Context, i int) error {
	leases := f.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	var lease *coordinationv1.Lease
	return every(ctx, leaseEvery, func() (err error) {
		if lease == nil {
			if lease, err = leases.Get(ctx, nodeName(i), metav1.GetOptions{}); err != nil {
				return err
			}
		}
		lease.Spec.RenewTime = &metav1.MicroTime{Time: time.Now()}
		lease, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
		return err
	})
}

func (f *fleet) reportStatus(ctx context.Context, i int) error {
	return every(ctx, statusEvery, func() error {
		now := time.Now().UTC().Format(time.RFC3339)
		patch := `{"status":{"conditions":[`
		for k, t := range []corev1.NodeConditionType{corev1.NodeReady, corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure} {
			if k > 0 {
				patch += ","
			}
			patch += fmt.Sprintf(`{"type":%q,"lastHeartbeatTime":%q}`, t, now)
		}
		_, err := f.client.CoreV1().Nodes().Patch(ctx, nodeName(i), types.StrategicMergePatchType, []byte(patch+"]}}"), metav1.PatchOptions{}, "status")
		return err
	})
}
