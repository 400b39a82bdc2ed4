package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// component is who conditions and events are from.
const component = "pullwatch"

// nodeEventNamespace is where events about nodes are: they have no namespace of their own.
const nodeEventNamespace = metav1.NamespaceDefault

// NodeEvent is an event about the own Node.
type NodeEvent struct {
	NodeUID string // the real one, by which `kubectl describe node` finds it
	Warning bool
	Reason  string
	Message string
}

// PatchConditions writes conditions into the own node's status, with a heartbeat at the given time. It is a strategic merge patch, merged by
// type: conditions of others are not touched, whoever writes them at the same moment. One without a status is taken off.
func (c *Client) PatchConditions(ctx context.Context, conditions []Condition, at time.Time) error {
	list := make([]any, len(conditions))
	for i, condition := range conditions {
		if condition.Status == "" {
			list[i] = removal(condition.Type)
			continue
		}
		list[i] = corev1.NodeCondition{
			Type: corev1.NodeConditionType(condition.Type), Status: corev1.ConditionStatus(condition.Status),
			Reason: condition.Reason, Message: condition.Message,
			LastHeartbeatTime: metav1.NewTime(at), LastTransitionTime: metav1.NewTime(condition.Since),
		}
	}
	return c.patchStatus(ctx, c.nodeName, map[string]any{"conditions": list})
}

// RemoveConditions takes conditions off a node. Those that are not there are no error.
func (c *Client) RemoveConditions(ctx context.Context, node string, conditionTypes []string) error {
	list := make([]any, len(conditionTypes))
	for i, t := range conditionTypes {
		list[i] = removal(t)
	}
	return c.patchStatus(ctx, node, map[string]any{"conditions": list})
}

// removal is what takes a condition off in a strategic merge patch. One that is not there is no error.
func removal(conditionType string) map[string]string {
	return map[string]string{"$patch": "delete", "type": conditionType}
}

func (c *Client) patchStatus(ctx context.Context, node string, status map[string]any) error {
	body, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err = c.rest.Patch(types.StrategicMergePatchType).Resource("nodes").Name(node).SubResource("status").Body(body).Do(ctx).Error()
	return c.explain("patch status of node "+node, err)
}

// CreateNodeEvent writes an event about the own Node.
func (c *Client) CreateNodeEvent(ctx context.Context, e NodeEvent) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	now := metav1.Now()
	kind := corev1.EventTypeNormal
	if e.Warning {
		kind = corev1.EventTypeWarning
	}
	event := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: nodeEventNamespace, Name: fmt.Sprintf("%s.%x", c.nodeName, now.UnixNano())},
		InvolvedObject: corev1.ObjectReference{Kind: "Node", APIVersion: "v1", Name: c.nodeName, UID: types.UID(e.NodeUID)},
		Reason:         e.Reason, Message: e.Message, Type: kind, Count: 1, FirstTimestamp: now, LastTimestamp: now,
		Source:              corev1.EventSource{Component: component, Host: c.nodeName},
		ReportingController: component, ReportingInstance: c.nodeName,
	}
	err := c.rest.Post().Namespace(nodeEventNamespace).Resource("events").Body(event).Do(ctx).Error()
	return c.explain("create event about node "+c.nodeName, err)
}

// NodeNames lists the nodes of the cluster.
func (c *Client) NodeNames(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*callTimeout)
	defer cancel()
	list, err := get[*corev1.NodeList](ctx, c.rest.Get().Resource("nodes").Param("resourceVersion", "0"))
	if err != nil {
		return nil, c.explain("list nodes", err)
	}
	names := make([]string, len(list.Items))
	for i := range list.Items {
		names[i] = list.Items[i].Name
	}
	return names, nil
}
