package node

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// AuditEntry is one request as the API server recorded it.
type AuditEntry struct {
	User      string
	Verb      string
	URI       string
	Resource  string // with its subresource, as RBAC names it: "nodes/status"
	Namespace string
	Pod       string    // for pods and pods/status
	Received  time.Time // requestReceivedTimestamp
	Completed time.Time // stageTimestamp of ResponseComplete: watchers are told at about this time; of a watch, when it began to be answered
	Code      int
	Waiting   []string // the waiting reasons that the kubelet wrote, "container=reason"
}

// AuditEntries reads the API server's audit log and keeps what the filter wants; a nil filter keeps all.
func (n *Node) AuditEntries(keep func(AuditEntry) bool) ([]AuditEntry, error) {
	f, err := os.Open(n.AuditLog())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []AuditEntry
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil { // the last line may be half written
			return all, nil
		}
		e, ok, err := parseAudit(line)
		if err != nil {
			return all, fmt.Errorf("read %s: %w", n.AuditLog(), err)
		}
		if ok && (keep == nil || keep(e)) {
			all = append(all, e)
		}
	}
}

// WaitingWrites are the kubelet's writes of a pod's status that gave a container a waiting reason with that prefix,
// in order of time. With prefix "" each write that has any.
func (n *Node) WaitingWrites(namespace, pod, reason string) ([]AuditEntry, error) {
	return n.AuditEntries(func(e AuditEntry) bool {
		if e.Namespace != namespace || e.Pod != pod || !strings.HasPrefix(e.User, "system:node:") || e.Code != 200 {
			return false
		}
		for _, w := range e.Waiting {
			if _, r, _ := strings.Cut(w, "="); strings.HasPrefix(r, reason) {
				return true
			}
		}
		return false
	})
}

func parseAudit(line []byte) (AuditEntry, bool, error) {
	var raw struct {
		Stage string `json:"stage"`
		Verb  string `json:"verb"`
		URI   string `json:"requestURI"`
		User  struct {
			Username string `json:"username"`
		} `json:"user"`
		ObjectRef struct {
			Resource    string `json:"resource"`
			Subresource string `json:"subresource"`
			Namespace   string `json:"namespace"`
			Name        string `json:"name"`
		} `json:"objectRef"`
		ResponseStatus struct {
			Code int `json:"code"`
		} `json:"responseStatus"`
		Received time.Time `json:"requestReceivedTimestamp"`
		Stamp    time.Time `json:"stageTimestamp"`
		// The kubelet sends a patch: only what changed is in it.
		RequestObject struct {
			Status corev1.PodStatus `json:"status"`
		} `json:"requestObject"`
	}
	if err := json.Unmarshal(line, &raw); err != nil {
		return AuditEntry{}, false, err
	}
	stage := "ResponseComplete"
	if raw.Verb == "watch" {
		stage = "ResponseStarted" // its end may be far away
	}
	if raw.Stage != stage {
		return AuditEntry{}, false, nil
	}
	e := AuditEntry{
		User: raw.User.Username, Verb: raw.Verb, URI: raw.URI, Resource: raw.ObjectRef.Resource, Namespace: raw.ObjectRef.Namespace,
		Received: raw.Received, Completed: raw.Stamp, Code: raw.ResponseStatus.Code,
	}
	if raw.ObjectRef.Subresource != "" {
		e.Resource += "/" + raw.ObjectRef.Subresource
	}
	if raw.ObjectRef.Resource == "pods" {
		e.Pod = raw.ObjectRef.Name
	}
	for _, s := range Statuses(&corev1.Pod{Status: raw.RequestObject.Status}) {
		if s.State.Waiting != nil {
			e.Waiting = append(e.Waiting, s.Name+"="+s.State.Waiting.Reason)
		}
	}
	return e, true, nil
}
