package node

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (n *Node) writeKubeletConfig() error {
	dir := filepath.Join(n.Dir, "kubelet")
	conf := map[string]any{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"address": "127.0.0.1", "port": n.Ports["kubelet"], "readOnlyPort": 0,
		"healthzBindAddress": "127.0.0.1", "healthzPort": n.Ports["kubelet-healthz"],
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false}, "webhook": map[string]any{"enabled": true},
			"x509": map[string]any{"clientCAFile": n.CAFile()}, // the API server's, for logs and exec
		},
		"authorization":            map[string]any{"mode": "Webhook"},
		"containerRuntimeEndpoint": n.CRISocket(),
		// Containers of two nodes on one machine must not meet: a kubelet kills what it finds below its root and does not know.
		"cgroupDriver": "cgroupfs", "cgroupRoot": "/" + n.mark(),
		"failCgroupV1": false, "failSwapOn": false, "enforceNodeAllocatable": []string{}, "makeIPTablesUtilChains": false,
		"localStorageCapacityIsolation": false,
		"podLogsDir":                    filepath.Join(n.Dir, "pods"), "volumePluginDir": filepath.Join(dir, "plugins"),
		// All pods at once: a pull that waits for a dead address must not hold up the others, nor the kubelet's own limits.
		"serializeImagePulls": false, "registryPullQPS": 0, "eventRecordQPS": 0,
		// The machine's own disk decides nothing here: a full one would have the kubelet delete the images of the test.
		"imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
		"evictionHard":              map[string]string{"memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.inodesFree": "0%"},
		"nodeStatusUpdateFrequency": "10s",
		"featureGates":              map[string]bool{"ImageVolume": true},
	}
	maps.Copy(conf, n.KubeletConfig)
	return writeJSON(filepath.Join(dir, "config.json"), conf)
}

func (n *Node) kubelet() command {
	dir := filepath.Join(n.Dir, "kubelet")
	return command{
		argv: append([]string{
			n.Parts.Kubelet, "--config=" + dir + "/config.json", "--kubeconfig=" + n.Kubeconfig(kubelet),
			"--root-dir=" + dir, "--cert-dir=" + dir + "/pki", "--hostname-override=" + n.NodeName, "--v=2",
		}, n.KubeletFlags...),
		timeout: 60 * time.Second,
		ready: func(ctx context.Context) error {
			if err := httpOK("http://" + n.addr("kubelet-healthz") + "/healthz")(ctx); err != nil {
				return err
			}
			node, err := n.Client().CoreV1().Nodes().Get(ctx, n.NodeName, metav1.GetOptions{})
			if err != nil {
				return err
			}
			// After a change of version the object still shows the old kubelet for a moment.
			if !strings.HasPrefix(node.Status.NodeInfo.KubeletVersion, "v"+n.Options.Kubelet+".") {
				return fmt.Errorf("node %s shows kubelet %q", n.NodeName, node.Status.NodeInfo.KubeletVersion)
			}
			return nil
		},
	}
}

// StopKubelet ends the kubelet; its pods go on running.
func (n *Node) StopKubelet() error { return n.Stop(PartKubelet) }

// StartKubelet starts a stopped kubelet in that version, which is compiled first if need be.
func (n *Node) StartKubelet(ctx context.Context, version string) error {
	path, err := EnsureKubelet(ctx, version, n.progress)
	if err != nil {
		return err
	}
	n.Parts.Kubelet, n.Options.Kubelet = path, version
	if err := n.save(); err != nil {
		return err
	}
	return n.Restart(ctx, PartKubelet)
}
