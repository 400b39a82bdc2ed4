package kubetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
)

// patchConditions is a strategic merge patch of a node's status, of which it knows the conditions: they are merged by type, field by field,
// and one with the directive "$patch: delete" is taken away.
func (s *Server) patchConditions(w http.ResponseWriter, p path, asked Request) {
	if asked.ContentType != string(types.StrategicMergePatchType) {
		fail(w, http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType, fmt.Sprintf(
			"the body of the request was in an unknown format - accepted media types include: %s", types.StrategicMergePatchType))
		return
	}
	var patch struct {
		Status struct{ Conditions []json.RawMessage }
	}
	if err := json.Unmarshal(asked.Body, &patch); err != nil {
		fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	node, ok := s.objects[p.key].(*corev1.Node)
	if !ok {
		notFound(w, p)
		return
	}
	node = node.DeepCopy() // watches hold the old one
	for _, raw := range patch.Status.Conditions {
		var head struct {
			Type      corev1.NodeConditionType
			Directive string `json:"$patch"`
		}
		if err := json.Unmarshal(raw, &head); err != nil || head.Type == "" {
			fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, "map: "+string(raw)+" does not contain declared merge key: type")
			return
		}
		list := &node.Status.Conditions
		same := func(c corev1.NodeCondition) bool { return c.Type == head.Type }
		if head.Directive == "delete" {
			*list = slices.DeleteFunc(*list, same)
			continue
		}
		i := slices.IndexFunc(*list, same)
		if i < 0 {
			i, *list = len(*list), append(*list, corev1.NodeCondition{})
		}
		if err := json.Unmarshal(raw, &(*list)[i]); err != nil {
			fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
			return
		}
	}
	s.store(p.resource, node)
	answer(w, http.StatusOK, node)
}

// createEvent takes an event in JSON or protobuf.
func (s *Server) createEvent(w http.ResponseWriter, p path, asked Request) {
	event, err := decodeEvent(asked.Body)
	if err == nil && event.Namespace != p.namespace {
		err = errors.New("the namespace of the provided object does not match the namespace sent on the request")
	}
	if err != nil {
		fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects[key{p.resource, event.Namespace, event.Name}] != nil {
		fail(w, http.StatusConflict, metav1.StatusReasonAlreadyExists, fmt.Sprintf("%s %q already exists", p.resource, event.Name))
		return
	}
	s.store(p.resource, event)
	answer(w, http.StatusCreated, event)
}

func decodeEvent(body []byte) (*corev1.Event, error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	event := &corev1.Event{}
	kind := corev1.SchemeGroupVersion.WithKind("Event")
	if _, _, err := serializer.NewCodecFactory(scheme).UniversalDeserializer().Decode(body, &kind, event); err != nil {
		return nil, err
	}
	event.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Event"}
	return event, nil
}

// Node gives a copy of a node, nil where there is none.
func (s *Server) Node(name string) *corev1.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	if node, ok := s.objects[key{"nodes", "", name}].(*corev1.Node); ok {
		return node.DeepCopy()
	}
	return nil
}

// Events are the events of a namespace, in the order of their names.
func (s *Server) Events(namespace string) (events []*corev1.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.matching("events", func(o object) bool { return o.GetNamespace() == namespace }) {
		events = append(events, o.(*corev1.Event).DeepCopy())
	}
	return events
}
