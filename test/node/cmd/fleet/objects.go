package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/pullwatch/pullwatch/pkg/cri/critest"
)

// What the cluster is like.
const (
	imagesOfNode = 50 // names of as many are in a Node's status (kubelet, nodeStatusMaxImages)
	namespaces   = 10
	brokenEvery  = 30 // one node of so many has pods that cannot pull
	brokenPods   = 3
)

func nodeName(i int) string      { return fmt.Sprintf("node-%04d", i) }
func podName(i, j int) string    { return fmt.Sprintf("shop-%04d-7d9c6b5f4d-%05d", j, i) }
func namespaceOf(j int) string   { return fmt.Sprintf("team-%d", j%namespaces) }
func brokenPod(i, j int) bool    { return i%brokenEvery == 0 && j < brokenPods }
func imageName(i int) string     { return fmt.Sprintf("registry.example.com/shop/service-%02d", i) }
func digest(i int) string        { return fmt.Sprintf("sha256:%064x", 0xabcdef+i) }
func minutesAgo(m int) time.Time { return time.Now().Add(-time.Duration(m) * time.Minute) }

// populate creates nodes, their leases, their pods and the pods' events, and gives the runtime its images.
func (f *fleet) populate(ctx context.Context) error {
	var images []critest.Image
	for i := range imagesOfNode {
		images = append(images, critest.Image{
			ID: strings.TrimPrefix(digest(i), "sha256:"), Tags: []string{imageName(i) + ":1.0"}, Digests: []string{imageName(i) + "@" + digest(i)},
			Size: 50 << 20, OS: "linux", Architecture: "amd64",
		})
	}
	f.runtime.SetImages(images...)
	for i := range namespaces {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespaceOf(i)}}
		if _, err := f.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	err := f.progress.During(fmt.Sprintf("creating %d nodes with %d pods each", f.nodes, f.pods), "", func() error {
		var g errgroup.Group
		g.SetLimit(8)
		for i := range f.nodes {
			g.Go(func() error {
				if err := f.createNode(ctx, i); err != nil {
					return err
				}
				for j := range f.pods {
					if err := f.createPod(ctx, i, j); err != nil {
						return err
					}
				}
				return nil
			})
		}
		return g.Wait()
	})
	if err != nil {
		return fmt.Errorf("create the objects: %w", err)
	}
	node, err := f.client.CoreV1().Nodes().Get(ctx, nodeName(0), metav1.GetOptions{})
	if err != nil {
		return err
	}
	pod, err := f.client.CoreV1().Pods(namespaceOf(f.pods-1)).Get(ctx, podName(0, f.pods-1), metav1.GetOptions{})
	if err != nil {
		return err
	}
	f.nodeBytes, f.podBytes = node.Size(), pod.Size()
	return nil
}

// createNode makes a node as a cloud's is: the kubelet's own conditions and those of a problem detector, and its lease.
func (f *fleet) createNode(ctx context.Context, i int) error {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: nodeName(i),
		Labels: map[string]string{
			"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux", "kubernetes.io/hostname": nodeName(i),
			"node.kubernetes.io/instance-type": "m5.2xlarge", "topology.kubernetes.io/region": "eu-west-1", "topology.kubernetes.io/zone": "eu-west-1a",
		},
		Annotations: map[string]string{
			"node.alpha.kubernetes.io/ttl": "0", "volumes.kubernetes.io/controller-managed-attach-detach": "true",
			"csi.volume.kubernetes.io/nodeid": fmt.Sprintf(`{"ebs.csi.aws.com":"i-%017x"}`, i),
		},
	}}
	n.Spec.ProviderID = fmt.Sprintf("aws:///eu-west-1a/i-%017x", i)
	nodes := f.client.CoreV1().Nodes()
	n, err := nodes.Create(ctx, n, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	many := corev1.ResourceList{
		"cpu": resource.MustParse("8"), "memory": resource.MustParse("32Gi"), "pods": resource.MustParse("110"), "ephemeral-storage": resource.MustParse("100Gi"),
	}
	n.Status = corev1.NodeStatus{
		Capacity: many, Allocatable: many,
		Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("10.%d.%d.1", i/250, i%250)}, {Type: corev1.NodeHostName, Address: nodeName(i)},
		},
		NodeInfo: corev1.NodeSystemInfo{
			MachineID: fmt.Sprintf("%032x", i), SystemUUID: fmt.Sprintf("%032x", i), BootID: fmt.Sprintf("%032x", i), KernelVersion: "6.1.0-18-amd64",
			OSImage: "Debian GNU/Linux 12 (bookworm)", OperatingSystem: "linux", Architecture: "amd64",
			ContainerRuntimeVersion: "containerd://2.1.4", KubeletVersion: "v1.34.4",
		},
		Conditions: nodeConditions(),
	}
	for k := range imagesOfNode {
		n.Status.Images = append(n.Status.Images, corev1.ContainerImage{Names: []string{imageName(k) + "@" + digest(k), imageName(k) + ":1.0"}, SizeBytes: 50 << 20})
	}
	if _, err := nodes.UpdateStatus(ctx, n, metav1.UpdateOptions{}); err != nil {
		return err
	}
	holder, seconds := nodeName(i), int32(40)
	_, err = f.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: nodeName(i), OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: n.UID}}},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &metav1.MicroTime{Time: time.Now()}},
	}, metav1.CreateOptions{})
	return err
}

// nodeConditions are the kubelet's, and those of a node problem detector. None is ours.
func nodeConditions() (all []corev1.NodeCondition) {
	for i, t := range []corev1.NodeConditionType{
		corev1.NodeReady, corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure, corev1.NodeNetworkUnavailable,
		"KernelDeadlock", "ReadonlyFilesystem", "FrequentKubeletRestart", "FrequentContainerdRestart", "CorruptDockerOverlay2",
	} {
		status := corev1.ConditionFalse
		if i == 0 {
			status = corev1.ConditionTrue
		}
		all = append(all, corev1.NodeCondition{
			Type: t, Status: status, Reason: "No" + string(t), Message: "the node has no trouble that " + string(t) + " would tell of",
			LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.NewTime(minutesAgo(60)),
		})
	}
	return all
}

// createPod makes a pod of a Deployment that runs, or one that cannot pull, with the kubelet's event about it.
func (f *fleet) createPod(ctx context.Context, i, j int) error {
	image := imageName(j%imagesOfNode) + ":1.0"
	if brokenPod(i, j) {
		image = imageName(j) + ":1.0-alpnie"
	}
	pods := f.client.CoreV1().Pods(namespaceOf(j))
	p, err := pods.Create(ctx, newPod(i, j, image), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	p.Status = podStatus(image, j, brokenPod(i, j))
	if p, err = pods.UpdateStatus(ctx, p, metav1.UpdateOptions{}); err != nil {
		return err
	}
	event := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: p.Name + ".17a", Namespace: p.Namespace},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: p.Namespace, Name: p.Name, UID: p.UID, FieldPath: "spec.containers{main}"},
		Type:           corev1.EventTypeNormal, Reason: "Started", Message: "Started container main",
		Count: 1, FirstTimestamp: metav1.NewTime(minutesAgo(30)), LastTimestamp: metav1.NewTime(minutesAgo(1)),
		Source: corev1.EventSource{Component: "kubelet", Host: nodeName(i)}, ReportingController: "kubelet", ReportingInstance: nodeName(i),
	}
	if brokenPod(i, j) {
		event.Type, event.Reason, event.Message, event.Count = corev1.EventTypeWarning, "Failed", "Failed to pull image: "+notFound(image), 9
	}
	_, err = f.client.CoreV1().Events(p.Namespace).Create(ctx, event, metav1.CreateOptions{})
	return err
}

func newPod(i, j int, image string) *corev1.Pod {
	yes, probe := true, &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080)}}}
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: podName(i, j), Namespace: namespaceOf(j),
			Labels: map[string]string{
				"app.kubernetes.io/name": fmt.Sprintf("shop-%04d", j), "app.kubernetes.io/version": "1.0",
				"app.kubernetes.io/managed-by": "Helm", "pod-template-hash": "7d9c6b5f4d",
			},
			Annotations: map[string]string{"prometheus.io/scrape": "true", "checksum/config": digest(j)},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "ReplicaSet", Name: fmt.Sprintf("shop-%04d-7d9c6b5f4d", j), UID: "5f6c1a52-0000-4000-8000-000000000000", Controller: &yes,
			}},
		},
		Spec: corev1.PodSpec{
			NodeName: nodeName(i),
			Volumes: []corev1.Volume{
				{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
					LocalObjectReference: corev1.LocalObjectReference{Name: "config"},
				}}},
				{Name: "cache", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
			Containers: []corev1.Container{{
				Name: "main", Image: image, Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}, LivenessProbe: probe, ReadinessProbe: probe,
				Resources:    corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("128Mi")}},
				VolumeMounts: []corev1.VolumeMount{{Name: "config", MountPath: "/etc/shop"}, {Name: "cache", MountPath: "/var/cache/shop"}},
			}},
		},
	}
	for k := range 15 {
		p.Spec.Containers[0].Env = append(p.Spec.Containers[0].Env, corev1.EnvVar{
			Name: fmt.Sprintf("SHOP_SETTING_%02d", k), Value: "http://shop-settings.team.svc.cluster.local:8080/",
		})
	}
	return p
}

func notFound(image string) string {
	return fmt.Sprintf("rpc error: code = NotFound desc = failed to pull and unpack image %q: failed to resolve image: %s: not found", image, image)
}

func podStatus(image string, j int, broken bool) corev1.PodStatus {
	began := metav1.NewTime(minutesAgo(30))
	s := corev1.PodStatus{Phase: corev1.PodRunning, HostIP: "10.0.0.1", PodIP: "10.1.0.1", StartTime: &began, QOSClass: corev1.PodQOSBurstable}
	container := corev1.ContainerStatus{Name: "main", Image: image, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: began}}}
	ready := corev1.ConditionTrue
	if broken {
		s.Phase, ready = corev1.PodPending, corev1.ConditionFalse
		container.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
			Reason: "ImagePullBackOff", Message: fmt.Sprintf("Back-off pulling image %q: ErrImagePull: %s", image, notFound(image)),
		}}
	} else {
		container.Ready, container.ImageID = true, imageName(j%imagesOfNode)+"@"+digest(j)
		container.ContainerID = "containerd://" + strings.TrimPrefix(digest(j), "sha256:")
	}
	s.ContainerStatuses = []corev1.ContainerStatus{container}
	for _, t := range []corev1.PodConditionType{corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.PodScheduled} {
		s.Conditions = append(s.Conditions, corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: began})
	}
	for _, t := range []corev1.PodConditionType{corev1.PodReady, corev1.ContainersReady} {
		s.Conditions = append(s.Conditions, corev1.PodCondition{Type: t, Status: ready, LastTransitionTime: began})
	}
	return s
}
