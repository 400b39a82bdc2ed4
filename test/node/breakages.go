package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Names under .invalid are promised never to exist (RFC 2606).
const (
	noSuchHost  = "registry.no-such-host.invalid"
	behindProxy = "registry.behind-proxy.invalid"
	pullSecret  = "registry-login"
)

// largeMiB does not fit onto the disk of Options.SmallDiskMiB.
const largeMiB = 64

// Breakages are the ways in which pulls fail on this node. The sandbox image is last, see Possible.
var Breakages = []Breakage{
	{
		Name: "typo-in-tag", What: "the tag does not exist", Causes: []string{"not_found"}, Container: "main", Kind: "container",
		Pod:     pod("registry", "shop/web:1.27-alpnie", "typo-in-tag"),
		Prepare: untag("shop/web:1.27-alpnie"),
		Mend:    pushTag("shop/web:1.27-alpnie"),
	},
	{
		Name: "unknown-repository", What: "the repository does not exist", Causes: []string{"not_found"}, Container: "main", Kind: "container",
		Pod:     pod("registry", "shpo/web:1.27", "unknown-repository"),
		Prepare: untag("shpo/web:1.27"),
		Mend:    pushTag("shpo/web:1.27"),
	},
	{
		Name: "no-such-host", What: "the registry's name does not resolve", Causes: []string{"dns"}, Container: "main", Kind: "container",
		Pod:     func(n *Node) *corev1.Pod { return n.Pod("no-such-host", noSuchHost+"/shop/cart:2.0") },
		Prepare: func(_ context.Context, n *Node) error { return n.removeHosts(noSuchHost) },
		Mend:    mirror(noSuchHost, "shop/cart:2.0"),
	},
	{
		Name: "refused", What: "nobody listens at the registry's port", Causes: []string{"connection"}, Container: "main", Kind: "container",
		Pod: pod("refused", "shop/cart:2.1", "refused"), Prepare: fault("refused", "shop/cart:2.1"), Mend: mendFault("refused"),
	},
	{
		Name: "reset", What: "the registry resets every connection", Causes: []string{"connection"}, Container: "main", Kind: "container",
		Pod: pod("reset", "shop/cart:2.2", "reset"), Prepare: fault("reset", "shop/cart:2.2"), Mend: mendFault("reset"),
	},
	{
		Name: "black-hole", What: "a firewall drops everything to the registry", Causes: []string{"connection", "timeout"}, Container: "main", Kind: "container",
		Slow: 35 * time.Second, // the runtime's dial timeout is 30 s
		Pod:  pod("blackhole", "shop/cart:2.3", "black-hole"),
		Prepare: func(ctx context.Context, n *Node) error {
			return errors.Join(n.Registry().PushTag(ctx, "shop/cart:2.3"), n.blackHole(ctx, "blackhole"))
		},
		Mend: func(ctx context.Context, n *Node) error { return n.liftBlackHole(ctx, "blackhole") },
	},
	{
		Name: "dead-proxy", What: "the runtime's HTTP proxy is gone", Causes: []string{"proxy"}, Container: "main", Kind: "container",
		Pod:     func(n *Node) *corev1.Pod { return n.Pod("dead-proxy", behindProxy+"/shop/search:5") },
		Prepare: func(_ context.Context, n *Node) error { return n.removeHosts(behindProxy) },
		Mend:    mirror(behindProxy, "shop/search:5"),
	},
	{
		Name: "http-asked-by-https", What: "the registry speaks HTTP, the runtime HTTPS", Causes: []string{"tls"}, Container: "main", Kind: "container",
		Pod: pod("plain", "shop/mail:3.0", "http-asked-by-https"),
		Prepare: func(ctx context.Context, n *Node) error {
			return errors.Join(n.Registry().PushTag(ctx, "shop/mail:3.0"), n.WriteHosts(n.addr("plain"), "https://"+n.addr("plain"), ""))
		},
		Mend: func(_ context.Context, n *Node) error {
			return n.WriteHosts(n.addr("plain"), "http://"+n.addr("plain"), "")
		},
	},
	{
		Name: "unknown-ca", What: "the registry's certificate is signed by a CA that the node does not know", Causes: []string{"tls"}, Container: "main", Kind: "container",
		Pod: pod("selfsigned", "shop/mail:3.1", "unknown-ca"),
		Prepare: func(ctx context.Context, n *Node) error {
			return errors.Join(n.Registry().PushTag(ctx, "shop/mail:3.1"), n.WriteHosts(n.addr("selfsigned"), "https://"+n.addr("selfsigned"), ""))
		},
		Mend: func(_ context.Context, n *Node) error {
			return n.WriteHosts(n.addr("selfsigned"), "https://"+n.addr("selfsigned"), fmt.Sprintf("ca = %q\n", n.Dir+"/faults/ca.crt"))
		},
	},
	{
		Name: "rate-limited", What: "the registry answers 429", Causes: []string{"rate_limited"}, Container: "main", Kind: "container",
		Pod: pod("ratelimit", "library/redis:7", "rate-limited"), Prepare: fault("ratelimit", "library/redis:7"), Mend: mendFault("ratelimit"),
	},
	{
		Name: "unavailable", What: "the registry answers 503", Causes: []string{"registry_error"}, Container: "main", Kind: "container",
		Pod: pod("unavailable", "shop/db:16", "unavailable"), Prepare: fault("unavailable", "shop/db:16"), Mend: mendFault("unavailable"),
	},
	{
		Name: "no-right", What: "the registry's token has no right to the repository", Causes: []string{"access_denied"}, Container: "main", Kind: "container",
		Pod: pod("hub", "shop/vault:1", "no-right"), Prepare: fault("hub", "shop/vault:1"), Mend: mendFault("hub"),
	},
	{
		Name: "forbidden", What: "the registry answers 403", Causes: []string{"access_denied"}, Container: "main", Kind: "container",
		Pod: pod("forbidden", "shop/vault:2", "forbidden"), Prepare: fault("forbidden", "shop/vault:2"), Mend: mendFault("forbidden"),
	},
	{
		Name: "private-no-secret", What: "a private registry, and the pod names no secret", Causes: []string{"unauthorized", "access_denied"}, Container: "main", Kind: "container",
		Pod:     pod("private", "shop/billing:4.0", "private-no-secret"),
		Prepare: pushPrivate("shop/billing:4.0"),
		Mend: func(ctx context.Context, n *Node) error { // as the pod's owner would: use the public copy
			return errors.Join(n.Registry().PushTag(ctx, "shop/billing:4.0"),
				n.SetImage(ctx, metav1.NamespaceDefault, "private-no-secret", "main", n.Registry().Ref("shop/billing:4.0")))
		},
	},
	{
		Name: "secret-missing", What: "a private registry, and the secret that the pod names does not exist",
		Causes: []string{"secret_missing", "unauthorized", "access_denied"}, Container: "main", Kind: "container",
		Pod: func(n *Node) *corev1.Pod {
			p := n.Pod("secret-missing", n.PrivateRegistry().Ref("shop/billing:4.1"))
			p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: pullSecret}}
			return p
		},
		Prepare: func(ctx context.Context, n *Node) error {
			err := n.Client().CoreV1().Secrets(metav1.NamespaceDefault).Delete(ctx, pullSecret, metav1.DeleteOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				return err
			}
			return n.PrivateRegistry().PushTag(ctx, "shop/billing:4.1")
		},
		Mend: func(ctx context.Context, n *Node) error { return n.CreatePullSecret(ctx, pullSecret, PrivatePassword) },
	},
	{
		Name: "wrong-password", What: "a private registry, and a secret with an old password", Causes: []string{"unauthorized", "access_denied"}, Container: "main", Kind: "container",
		Pod: func(n *Node) *corev1.Pod {
			p := n.Pod("wrong-password", n.PrivateRegistry().Ref("shop/billing:4.2"))
			p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "old-login"}}
			return p
		},
		Prepare: func(ctx context.Context, n *Node) error {
			return errors.Join(n.PrivateRegistry().PushTag(ctx, "shop/billing:4.2"), n.CreatePullSecret(ctx, "old-login", "last-year"))
		},
		Mend: func(ctx context.Context, n *Node) error { return n.CreatePullSecret(ctx, "old-login", PrivatePassword) },
	},
	{
		Name: "wrong-platform", What: "an image index without this machine's platform", Causes: []string{"platform_mismatch"}, Container: "main", Kind: "container",
		Pod: pod("registry", "edge/sensor:1", "wrong-platform"),
		Prepare: func(ctx context.Context, n *Node) error {
			idx, err := n.Registry().foreignIndex()
			if err != nil {
				return err
			}
			return n.Registry().Push(ctx, "edge/sensor:1", idx)
		},
		Mend: pushTag("edge/sensor:1"),
	},
	{
		Name: "schema1", What: "a manifest in the format that containerd 2 gave up", Causes: []string{"unsupported_format"}, Container: "main", Kind: "container",
		Needs: func(n *Node) error {
			if n.Options.Containerd == Containerd16 {
				return errors.New("containerd 1.6 converts schema 1")
			}
			return nil
		},
		Pod: pod("schema1", "legacy/app:1.0", "schema1"), Prepare: fault("schema1", "legacy/app:1.0"), Mend: mendFault("schema1"),
	},
	{
		Name: "odd-compression", What: "a layer in a compression that the runtime does not know", Causes: []string{"unsupported_format"}, Container: "main", Kind: "container",
		Pod:     pod("registry", "shop/tools:0.1", "odd-compression"),
		Prepare: pushArtifact("shop/tools:0.1", "application/vnd.oci.image.layer.v1.tar+xz"),
		Mend:    pushTag("shop/tools:0.1"),
	},
	{
		Name: "corrupt-blob", What: "a layer in the registry is not what its digest says", Causes: []string{"corrupt_content"}, Container: "main", Kind: "container",
		Pod: pod("registry", "shop/report:6", "corrupt-blob"),
		Prepare: func(ctx context.Context, n *Node) error {
			// Each time another layer: the right one may be on the node already.
			img, err := n.Registry().largeImage("report "+time.Now().String(), 1)
			if err != nil {
				return err
			}
			if err := n.Registry().Push(ctx, "shop/report:6", img); err != nil {
				return err
			}
			_, err = n.Registry().SetCorrupt(ctx, "shop/report:6", false)
			return err
		},
		Mend: func(ctx context.Context, n *Node) error {
			_, err := n.Registry().SetCorrupt(ctx, "shop/report:6", true)
			return err
		},
	},
	{
		Name: "truncated-blob", What: "the registry hangs up in the middle of a layer", Causes: []string{"corrupt_content", "connection"}, Container: "main", Kind: "container",
		Pod: pod("truncated", "shop/report:7", "truncated-blob"),
		Prepare: func(ctx context.Context, n *Node) error {
			img, err := n.Registry().largeImage("truncated "+time.Now().String(), 1)
			if err != nil {
				return err
			}
			return errors.Join(n.Registry().Push(ctx, "shop/report:7", img), n.setFault(ctx, "break", "truncated"))
		},
		Mend: mendFault("truncated"),
	},
	{
		Name: "upper-case", What: "the image's name is no reference", Causes: []string{"invalid_reference"}, Container: "main", Kind: "container",
		Pod: pod("registry", "Shop/Web:1.27", "upper-case"),
		Mend: func(ctx context.Context, n *Node) error {
			return n.SetImage(ctx, metav1.NamespaceDefault, "upper-case", "main", n.GoodImage())
		},
	},
	{
		Name: "never", What: "pull policy Never, and the image is not on the node", Causes: []string{"not_present"}, Container: "main", Kind: "container",
		Pod: func(n *Node) *corev1.Pod {
			p := n.Pod("never", n.Registry().Ref("shop/preloaded:1"))
			p.Spec.Containers[0].ImagePullPolicy = corev1.PullNever
			return p
		},
		Mend: func(ctx context.Context, n *Node) error {
			return errors.Join(n.Registry().PushTag(ctx, "shop/preloaded:1"), n.PullImage(ctx, n.Registry().Ref("shop/preloaded:1")))
		},
	},
	{
		Name: "init-typo", What: "the tag of an init container does not exist", Causes: []string{"not_found"}, Container: "migrate", Kind: "init",
		Pod: func(n *Node) *corev1.Pod {
			p := n.Pod("init-typo", n.GoodImage())
			always := corev1.ContainerRestartPolicyAlways // a sidecar: it runs, and lets the others start
			p.Spec.InitContainers = []corev1.Container{{Name: "migrate", Image: n.Registry().Ref("shop/migrate:v3.0.O"), RestartPolicy: &always}}
			return p
		},
		Prepare: untag("shop/migrate:v3.0.O"),
		Mend:    pushTag("shop/migrate:v3.0.O"),
	},
	{
		Name: "debug-typo", What: "the tag of an ephemeral container does not exist", Causes: []string{"not_found"}, Container: "debug", Kind: "ephemeral",
		Slow:    15 * time.Second, // nothing has the kubelet look at the pod again before its own back-off
		Pod:     func(n *Node) *corev1.Pod { return n.Pod("debug-typo", n.GoodImage()) },
		Prepare: untag("tools/debug:lastest"),
		After: func(ctx context.Context, n *Node) error {
			if err := n.WaitRunning(ctx, metav1.NamespaceDefault, "debug-typo"); err != nil {
				return err
			}
			pods := n.Client().CoreV1().Pods(metav1.NamespaceDefault)
			p, err := pods.Get(ctx, "debug-typo", metav1.GetOptions{})
			if err != nil {
				return err
			}
			p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, corev1.EphemeralContainer{
				EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: n.Registry().Ref("tools/debug:lastest")},
			})
			_, err = pods.UpdateEphemeralContainers(ctx, "debug-typo", p, metav1.UpdateOptions{})
			return err
		},
		Mend: pushTag("tools/debug:lastest"),
	},
	{
		Name: "volume-typo", What: "the tag of an image volume does not exist", Causes: []string{"not_found"}, Container: "main", Kind: "volume",
		Pod: func(n *Node) *corev1.Pod {
			p := n.Pod("volume-typo", n.GoodImage())
			p.Spec.Volumes = []corev1.Volume{{Name: "model", VolumeSource: corev1.VolumeSource{
				Image: &corev1.ImageVolumeSource{Reference: n.Registry().Ref("models/small:v9"), PullPolicy: corev1.PullIfNotPresent},
			}}}
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "model", MountPath: "/model"}}
			return p
		},
		Prepare: untag("models/small:v9"),
		// Not mended where the runtime cannot mount an image, and the image has no directory to mount it on: the
		// container starts only with containerd 2.1 and newer.
		Mend: pushTag("models/small:v9"),
	},
	{
		Name: "disk-full", What: "no room for the image on the runtime's disk", Causes: []string{"disk_full"}, Container: "main", Kind: "container",
		Needs: func(n *Node) error {
			if n.SmallDiskMiB == 0 || n.SmallDiskMiB > largeMiB {
				return fmt.Errorf("the node has no small disk\nbring it up with --small-disk %d", largeMiB)
			}
			return nil
		},
		Pod: pod("registry", "models/large:1", "disk-full"),
		Prepare: func(ctx context.Context, n *Node) error {
			img, err := n.Registry().largeImage("model", largeMiB)
			if err != nil {
				return err
			}
			return n.Registry().Push(ctx, "models/large:1", img)
		},
		Mend: pushTag("models/large:1"),
	},
	{
		Name: "sandbox-image", What: "the pause image is gone, from node and registry: no new pod starts", Causes: []string{"not_found"}, Kind: "sandbox",
		Pod:     func(n *Node) *corev1.Pod { return n.Pod("sandbox-image", n.GoodImage()) },
		Prepare: func(ctx context.Context, n *Node) error { return n.BreakSandboxImage(ctx) },
		Mend:    func(ctx context.Context, n *Node) error { return n.MendSandboxImage(ctx) },
	},
}

// pod is a breakage's pod with an image of one of the node's registries.
func pod(port, repoTag, name string) func(*Node) *corev1.Pod {
	return func(n *Node) *corev1.Pod { return n.Pod(name, n.addr(port)+"/"+repoTag) }
}

func pushTag(repoTag string) func(context.Context, *Node) error {
	return func(ctx context.Context, n *Node) error { return n.Registry().PushTag(ctx, repoTag) }
}

func pushPrivate(repoTag string) func(context.Context, *Node) error {
	return func(ctx context.Context, n *Node) error { return n.PrivateRegistry().PushTag(ctx, repoTag) }
}

func pushArtifact(repoTag string, layer types.MediaType) func(context.Context, *Node) error {
	return func(ctx context.Context, n *Node) error {
		img, err := n.Registry().artifact(layer)
		if err != nil {
			return err
		}
		return n.Registry().Push(ctx, repoTag, img)
	}
}

// untag takes back what Mend pushed, if it did.
func untag(repoTag string) func(context.Context, *Node) error {
	return func(_ context.Context, n *Node) error {
		repo, tag, _ := strings.Cut(repoTag, ":")
		_ = n.Registry().Untag(repo, tag) // most often it was never there
		return nil
	}
}

// fault puts a good image behind a misbehaving registry.
func fault(name, repoTag string) func(context.Context, *Node) error {
	return func(ctx context.Context, n *Node) error {
		return errors.Join(n.Registry().PushTag(ctx, repoTag), n.setFault(ctx, "break", name))
	}
}

func mendFault(name string) func(context.Context, *Node) error {
	return func(ctx context.Context, n *Node) error { return n.setFault(ctx, "mend", name) }
}

// mirror has the runtime ask the good registry in place of a host.
func mirror(host, repoTag string) func(context.Context, *Node) error {
	return func(ctx context.Context, n *Node) error {
		return errors.Join(n.Registry().PushTag(ctx, repoTag), n.WriteHosts(host, "http://"+n.RegistryAddr(), ""))
	}
}
