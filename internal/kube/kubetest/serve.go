package kubetest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

type object interface {
	runtime.Object
	metav1.Object
}

// path is what a request is about.
type path struct {
	key
	sub string // "status", or nothing
}

// right is the resource as RBAC calls it.
func (p path) right() string {
	if p.sub != "" {
		return p.resource + "/" + p.sub
	}
	return p.resource
}

// pathOf reads /api/v1/[namespaces/N/]RESOURCE[/NAME[/status]]. What is no such path has no resource.
func pathOf(text string) (p path) {
	rest, ok := strings.CutPrefix(text, "/api/v1/")
	if !ok {
		return path{}
	}
	parts := strings.Split(rest, "/")
	if len(parts) > 2 && parts[0] == "namespaces" {
		p.namespace, parts = parts[1], parts[2:]
	}
	if len(parts) > 3 || len(parts) == 3 && parts[2] != "status" {
		return path{}
	}
	p.resource = parts[0]
	if len(parts) > 1 {
		p.name = parts[1]
	}
	if len(parts) > 2 {
		p.sub = parts[2]
	}
	return p
}

// labels are the field labels of each resource, as far as a real API server takes them and Pullwatch may use them.
var labels = map[string]func(object) fields.Set{
	"pods": func(o object) fields.Set {
		set := fields.Set{"metadata.name": "", "metadata.namespace": "", "spec.nodeName": "", "status.phase": ""}
		if p, ok := o.(*corev1.Pod); ok {
			set = fields.Set{"metadata.name": p.Name, "metadata.namespace": p.Namespace, "spec.nodeName": p.Spec.NodeName, "status.phase": string(p.Status.Phase)}
		}
		return set
	},
	"nodes": func(o object) fields.Set {
		set := fields.Set{"metadata.name": ""}
		if o != nil {
			set["metadata.name"] = o.GetName()
		}
		return set
	},
	"events": func(o object) fields.Set {
		e, ok := o.(*corev1.Event)
		if !ok {
			e = &corev1.Event{}
		}
		return fields.Set{
			"metadata.name": e.Name, "metadata.namespace": e.Namespace, "reason": e.Reason, "type": e.Type,
			"involvedObject.kind": e.InvolvedObject.Kind, "involvedObject.namespace": e.InvolvedObject.Namespace,
			"involvedObject.name": e.InvolvedObject.Name, "involvedObject.uid": string(e.InvolvedObject.UID),
			"involvedObject.fieldPath": e.InvolvedObject.FieldPath,
		}
	},
}

// kinds are the kinds of the resources.
var kinds = map[string]string{"pods": "Pod", "nodes": "Node", "events": "Event"}

// ServeHTTP is the API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // whoever asked is gone
	}
	asked := Request{
		Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Accept: r.Header.Get("Accept"), UserAgent: r.UserAgent(),
		ContentType: r.Header.Get("Content-Type"), Body: body,
	}
	s.mu.Lock()
	s.requests = append(s.requests, asked)
	s.mu.Unlock()
	if s.refuse(w, r, asked) {
		return
	}
	p := pathOf(r.URL.Path)
	switch asked.Verb() + " " + p.right() {
	case "get secrets": // which is all that there is of them: they are not listed or watched
		s.get(w, p)
		return
	case "patch nodes/status":
		s.patchConditions(w, p, asked)
		return
	case "create events":
		s.createEvent(w, p, asked)
		return
	}
	if labels[p.right()] == nil || r.Method != http.MethodGet {
		fail(w, http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource")
		return
	}
	if p.name != "" {
		s.get(w, p)
		return
	}
	selector, err := fields.ParseSelector(asked.Query.Get("fieldSelector"))
	if err != nil {
		fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
		return
	}
	for _, requirement := range selector.Requirements() {
		if !labels[p.resource](nil).Has(requirement.Field) {
			fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, "field label not supported: "+requirement.Field)
			return
		}
	}
	matches := func(o object) bool {
		return o != nil && (p.namespace == "" || o.GetNamespace() == p.namespace) && selector.Matches(labels[p.resource](o))
	}
	if asked.Verb() == "watch" {
		s.watch(w, r, asked, p.resource, matches)
		return
	}
	s.list(w, r, asked, p.resource, matches)
}

func (s *Server) get(w http.ResponseWriter, p path) {
	s.mu.Lock()
	o := s.objects[p.key]
	s.mu.Unlock()
	if o == nil {
		notFound(w, p)
		return
	}
	answer(w, http.StatusOK, o)
}

func (s *Server) list(w http.ResponseWriter, r *http.Request, asked Request, resource string, matches func(object) bool) {
	s.mu.Lock()
	hold := s.faults.hold
	s.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
			return
		}
	}
	s.mu.Lock()
	items, version := s.matching(resource, matches), s.version
	s.mu.Unlock()
	meta := metav1.ListMeta{ResourceVersion: strconv.FormatInt(version, 10)}
	if limit, err := strconv.Atoi(asked.Query.Get("limit")); err == nil && limit > 0 && len(items) > limit {
		left := int64(len(items) - limit)
		items, meta.Continue, meta.RemainingItemCount = items[:limit], "there-is-more", &left
	}
	answer(w, http.StatusOK, map[string]any{"kind": kinds[resource] + "List", "apiVersion": "v1", "metadata": meta, "items": items})
}

// matching lists the objects that match, in the order of their names. The caller holds mu.
func (s *Server) matching(resource string, matches func(object) bool) []object {
	items := []object{}
	for k, o := range s.objects {
		if k.resource == resource && matches(o) {
			items = append(items, o)
		}
	}
	slices.SortFunc(items, func(a, b object) int {
		return strings.Compare(a.GetNamespace()+"/"+a.GetName(), b.GetNamespace()+"/"+b.GetName())
	})
	return items
}

// watch serves a watch: from a version, or from the present with what is there now in front.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, asked Request, resource string, matches func(object) bool) {
	from, _ := strconv.ParseInt(asked.Query.Get("resourceVersion"), 10, 64)
	s.mu.Lock()
	cut, expired := s.cut, s.expired
	s.mu.Unlock()
	flusher := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_ = flusher.Flush()
	send := func(kind watch.EventType, o any) bool {
		if json.NewEncoder(w).Encode(map[string]any{"type": kind, "object": o}) != nil {
			return false
		}
		return flusher.Flush() == nil
	}
	if from != 0 && from < expired {
		send(watch.Error, status(http.StatusGone, metav1.StatusReasonExpired, fmt.Sprintf("too old resource version: %d (%d)", from, expired)))
		return
	}
	s.mu.Lock()
	position := len(s.changes)
	if from == 0 {
		items := s.matching(resource, matches)
		s.mu.Unlock()
		for _, o := range items {
			if !send(watch.Added, o) {
				return
			}
		}
	} else {
		position = slices.IndexFunc(s.changes, func(c change) bool { return c.version > from })
		if position < 0 {
			position = len(s.changes)
		}
		s.mu.Unlock()
	}
	var over <-chan time.Time
	if seconds, err := strconv.Atoi(asked.Query.Get("timeoutSeconds")); err == nil && seconds > 0 {
		timer := time.NewTimer(time.Duration(seconds) * time.Second)
		defer timer.Stop()
		over = timer.C
	}
	for {
		s.mu.Lock()
		news, changed := s.changes[position:], s.changed
		position = len(s.changes)
		s.mu.Unlock()
		for _, c := range news {
			if c.resource != resource {
				continue
			}
			was, is := matches(c.before), matches(c.after)
			ok := true
			switch {
			case is && was:
				ok = send(watch.Modified, c.after)
			case is:
				ok = send(watch.Added, c.after)
			case was:
				// A watch tells the last state of what is gone, at the version of its end.
				gone := c.before.DeepCopyObject().(object)
				gone.SetResourceVersion(strconv.FormatInt(c.version, 10))
				ok = send(watch.Deleted, gone)
			}
			if !ok {
				return
			}
		}
		select {
		case <-changed:
		case <-cut:
			return
		case <-over:
			return
		case <-r.Context().Done():
			return
		}
	}
}
