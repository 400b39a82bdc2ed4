// Package kube is all of Pullwatch that talks to the API server: streams of this node's pods and of the own Node object, and the events
// of one pod when a question about that pod needs them.
//
// It promises: only this node's pods are asked for (a field selector that the API server serves from an index), in protobuf, reduced to
// what Pullwatch reads before anything is kept; events are never watched or listed for more than one pod; a secret is only ever got by its
// name, and nothing of it is kept; a broken API server costs retries with jitter and nothing else.
package kube

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// callTimeout bounds one request that is no watch.
const callTimeout = 15 * time.Second

// maxEvents bounds what is read of one pod's events. A failing pod has a handful, each with a count.
const maxEvents = 100

// Config says where the API server is and which node this is.
type Config struct {
	// Kubeconfig is a file; empty means KUBECONFIG, then ~/.kube/config, then the pod's own service account.
	Kubeconfig string
	NodeName   string
	UserAgent  string
}

// Client asks the API server about one node.
type Client struct {
	rest     rest.Interface
	decoder  runtime.Decoder
	nodeName string
	host     string
}

// New reads the configuration. It asks nothing yet.
func New(cfg Config) (*Client, error) {
	config, err := restConfig(cfg.Kubeconfig)
	if err != nil {
		return nil, err
	}
	// Only core/v1 is registered: the typed clients would register every API group of Kubernetes, for 13 MB of binary.
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	metav1.AddToGroupVersion(scheme, corev1.SchemeGroupVersion)
	config.GroupVersion = &corev1.SchemeGroupVersion
	config.APIPath = "/api"
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	codecs := serializer.NewCodecFactory(scheme)
	config.NegotiatedSerializer = codecs.WithoutConversion()
	config.UserAgent = cfg.UserAgent
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("API server %s: %s", shown(config.Host), strings.ReplaceAll(err.Error(), config.Host, shown(config.Host)))
	}
	return &Client{rest: client, decoder: codecs.UniversalDeserializer(), nodeName: cfg.NodeName, host: shown(config.Host)}, nil
}

// ErrNoConfig says that nothing tells where an API server is.
var ErrNoConfig = errors.New("nothing names an API server (looked at --kubeconfig, KUBECONFIG, ~/.kube/config and a pod's service account)")

func restConfig(kubeconfig string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	if kubeconfig != "" {
		rules.ExplicitPath = kubeconfig
	}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	switch {
	case clientcmd.IsEmptyConfig(err) && kubeconfig == "":
		return nil, ErrNoConfig
	case clientcmd.IsEmptyConfig(err):
		return nil, fmt.Errorf("kubeconfig %s names no cluster", kubeconfig)
	case err != nil:
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return config, nil
}

// shown is an address without the user and password that it may hold.
func shown(host string) string {
	before, after, ok := strings.Cut(host, "://")
	if !ok {
		before, after = "", host
	} else {
		before += "://"
	}
	authority, path, slash := strings.Cut(after, "/")
	authority = authority[strings.LastIndexByte(authority, '@')+1:]
	if slash {
		path = "/" + path
	}
	return before + authority + path
}

// Host is the API server's address, for messages.
func (c *Client) Host() string { return c.host }

// NodeName is the node asked about.
func (c *Client) NodeName() string { return c.nodeName }

// Node asks once for the own Node object.
func (c *Client) Node(ctx context.Context) (Node, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// resourceVersion 0 is answered from the API server's cache, without a round to etcd.
	node, err := get[*corev1.Node](ctx, c.rest.Get().Resource("nodes").Name(c.nodeName).Param("resourceVersion", "0"))
	if err != nil {
		return Node{}, c.explain("get node "+c.nodeName, err)
	}
	return reduceNode(node), nil
}

// Pods asks once for this node's pods.
func (c *Client) Pods(ctx context.Context) ([]Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := get[*corev1.PodList](ctx, c.rest.Get().Resource("pods").Param("resourceVersion", "0").
		Param("fieldSelector", c.podSelector().String()))
	if err != nil {
		return nil, c.explain("list pods of node "+c.nodeName, err)
	}
	pods := make([]Pod, len(list.Items))
	for i := range list.Items {
		pods[i] = reducePod(&list.Items[i])
	}
	return pods, nil
}

// PodEvents asks for the events of one pod, at most 100 of them.
func (c *Client) PodEvents(ctx context.Context, namespace, name, uid string) ([]Event, error) {
	return c.events(ctx, "pod "+namespace+"/"+name, namespace, fields.OneTermEqualSelector("involvedObject.name", name), fields.OneTermEqualSelector("involvedObject.uid", uid))
}

// NodeEvents asks for the events about the own Node of one reason, at most 100 of them. Kubelets before 1.37 write the node's name for its UID.
func (c *Client) NodeEvents(ctx context.Context, reason string) ([]Event, error) {
	return c.events(ctx, "node "+c.nodeName, nodeEventNamespace, fields.OneTermEqualSelector("involvedObject.kind", "Node"),
		fields.OneTermEqualSelector("involvedObject.name", c.nodeName), fields.OneTermEqualSelector("reason", reason))
}

func (c *Client) events(ctx context.Context, subject, namespace string, selected ...fields.Selector) ([]Event, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := get[*corev1.EventList](ctx, c.rest.Get().Namespace(namespace).Resource("events").
		VersionedParams(&metav1.ListOptions{FieldSelector: fields.AndSelectors(selected...).String(), Limit: maxEvents}, metav1.ParameterCodec))
	if err != nil {
		return nil, c.explain("list events of "+subject, err)
	}
	events := make([]Event, len(list.Items))
	for i := range list.Items {
		events[i] = reduceEvent(&list.Items[i])
	}
	return events, nil
}

// get does a request whose answer is to be of one kind.
func get[T runtime.Object](ctx context.Context, r *rest.Request) (T, error) {
	var none T
	answer, err := r.Do(ctx).Get()
	if err != nil {
		return none, err
	}
	object, ok := answer.(T)
	if !ok {
		return none, fmt.Errorf("answered with a %T", answer)
	}
	return object, nil
}

func (c *Client) podSelector() fields.Selector {
	return fields.OneTermEqualSelector("spec.nodeName", c.nodeName)
}

// Error is a request that failed, with what to do about it.
type Error struct {
	Op   string // what was asked, with its subject
	Host string
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("%s at %s: %s", e.Op, e.Host, message(e.Err)) }

func (e *Error) Unwrap() error { return e.Err }

// NotFound tells whether the API server answered that there is no such object.
func (e *Error) NotFound() bool { return apierrors.IsNotFound(e.Err) }

// Forbidden tells whether the API server knows who asks, and that it has no right to.
func (e *Error) Forbidden() bool { return apierrors.IsForbidden(e.Err) }

// Hint is one sentence on what to do.
func (e *Error) Hint() string {
	switch {
	case apierrors.IsUnauthorized(e.Err):
		return "The API server does not accept these credentials: check --kubeconfig or the pod's service account token."
	case apierrors.IsForbidden(e.Err):
		return "Grant the service account list and watch on pods, get, list and watch on nodes, list on events; for conditions patch on nodes/status, create on events."
	case apierrors.IsNotFound(e.Err):
		return "Name this node as the cluster does (kubectl get nodes) with --node-name or NODE_NAME."
	case apierrors.IsTooManyRequests(e.Err), apierrors.IsServerTimeout(e.Err), apierrors.IsTimeout(e.Err):
		return "The API server is overloaded; try again later."
	}
	return "Check that the API server runs and that this node reaches it; --no-kube does without."
}

// Unreadable tells an error of an answer that was none of the API: neither the API server's refusal nor the network's.
func Unreadable(err error) bool {
	var ours *Error
	if !errors.As(err, &ours) {
		return false
	}
	var status apierrors.APIStatus
	var transport *url.Error
	return !errors.As(ours.Err, &status) && !errors.As(ours.Err, &transport) && !errors.Is(ours.Err, context.DeadlineExceeded)
}

func (c *Client) explain(op string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return &Error{Op: op, Host: c.host, Err: err}
}

// message is the part of an error that a person needs: a URL error repeats the whole request.
func message(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return strings.ReplaceAll(err.Error(), "\n", " ")
}
