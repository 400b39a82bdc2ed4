package kube

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// PodSink is told of this node's pods, from one goroutine at a time.
type PodSink interface {
	// Replace is told the whole list, at the start and whenever the stream had to begin anew.
	Replace([]Pod)
	Observe(Pod)
	Forget(uid string)
}

// Stream follows one kind of object until its context ends, and heals by itself.
type Stream struct {
	name      string
	explain   func(op string, err error) error
	reflector *cache.Reflector
	onChange  func(StreamState)
	state     atomic.Pointer[StreamState]
	changing  sync.Mutex // held from reading the state to telling of the new one: a watch's events and its requests are two goroutines
}

// StreamState is how a stream is doing.
type StreamState struct {
	Synced bool  // the whole list was seen at least once
	Err    error // why the API server cannot be followed at present; nil while it can
}

// State is how the stream is doing now.
func (s *Stream) State() StreamState { return *s.state.Load() }

// Run follows the stream until ctx ends.
func (s *Stream) Run(ctx context.Context) { s.reflector.RunWithContext(ctx) }

// PodStream prepares the stream of this node's pods. onChange is told when the stream is lost or found again.
func (c *Client) PodStream(sink PodSink, onChange func(StreamState)) *Stream {
	return c.stream("pods", c.podSelector(), &corev1.Pod{}, onChange, func(s *Stream) cache.ReflectorStore {
		return &store[corev1.Pod]{
			stream: s,
			replace: func(pods []*corev1.Pod) {
				reduced := make([]Pod, len(pods))
				for i, p := range pods {
					reduced[i] = reducePod(p)
				}
				sink.Replace(reduced)
			},
			observe: func(p *corev1.Pod) { sink.Observe(reducePod(p)) },
			forget:  func(p *corev1.Pod) { sink.Forget(string(p.UID)) },
		}
	})
}

// NodeStream prepares the stream of the own Node object. A Node that is deleted is told as the zero Node.
func (c *Client) NodeStream(sink func(Node), onChange func(StreamState)) *Stream {
	return c.stream("nodes", fields.OneTermEqualSelector("metadata.name", c.nodeName), &corev1.Node{}, onChange, func(s *Stream) cache.ReflectorStore {
		return &store[corev1.Node]{
			stream: s,
			replace: func(nodes []*corev1.Node) {
				if len(nodes) == 0 {
					sink(Node{})
					return
				}
				sink(reduceNode(nodes[0]))
			},
			observe: func(n *corev1.Node) { sink(reduceNode(n)) },
			forget:  func(*corev1.Node) { sink(Node{}) },
		}
	})
}

func (c *Client) stream(resource string, selector fields.Selector, object runtime.Object, onChange func(StreamState), storeOf func(*Stream) cache.ReflectorStore) *Stream {
	s := &Stream{name: resource, explain: c.explain, onChange: onChange}
	s.state.Store(&StreamState{})
	request := func(options *metav1.ListOptions) *rest.Request {
		options.FieldSelector = selector.String()
		return c.rest.Get().Resource(resource).VersionedParams(options, metav1.ParameterCodec)
	}
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			ctx, cancel := context.WithTimeout(ctx, 2*callTimeout)
			defer cancel()
			list, err := request(&options).Do(ctx).Get()
			s.note("list", err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.Watch = true
			w, err := request(&options).Watch(ctx)
			if err != nil {
				s.note("watch", err)
				return nil, err
			}
			if !Unreadable(s.State().Err) { // what was unreadable heals by an event that is read
				s.note("watch", nil)
			}
			return s.tap(w), nil
		},
	}
	// The name keeps the reflector from walking the stack for one. Its own log is silenced by the agent: the stream tells its state.
	s.reflector = cache.NewReflectorWithOptions(listed{lw}, object, storeOf(s), cache.ReflectorOptions{Name: resource, MinWatchTimeout: 10 * time.Minute})
	return s
}

// listed keeps the reflector from asking for the list as a stream. The API server finds the pods of a node in an index for a list; for a
// stream it goes through those of the whole cluster, for each agent that starts (k8s.io/apiserver 0.34 to 0.37, getIntervalFromStoreLocked).
type listed struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is what the reflector asks.
func (listed) IsWatchListSemanticsUnSupported() bool { return true }

// tapped hands on what a watch brings.
type tapped struct {
	watch.Interface
	results chan watch.Event
	stop    context.CancelFunc
}

func (t *tapped) ResultChan() <-chan watch.Event { return t.results }

func (t *tapped) Stop() {
	t.stop()
	t.Interface.Stop()
}

// tap looks at each event of a watch on its way. (watch.Filter would do, but blocks for ever on an event that nobody takes any more.)
func (s *Stream) tap(w watch.Interface) watch.Interface {
	ctx, stop := context.WithCancel(context.Background()) // ends with the watch, which has its own context
	t := &tapped{w, make(chan watch.Event), stop}
	go func() {
		defer close(t.results)
		defer stop()
		for event := range w.ResultChan() {
			s.read(event)
			select {
			case t.results <- event:
			case <-ctx.Done():
				return
			}
		}
	}()
	return t
}

// read notes whether what a watch brings can be read.
func (s *Stream) read(event watch.Event) {
	if event.Type != watch.Error {
		s.note("watch", nil)
	} else if text := apierrors.FromObject(event.Object).Error(); strings.Contains(text, "unable to decode watch event") ||
		strings.Contains(text, "invalid watch event type") { // client-go's words (rest/watch) for what is no event of the API
		s.note("watch", errors.New(text))
	}
}

// Name is the resource that is followed.
func (s *Stream) Name() string { return s.name }

func (s *Stream) note(op string, err error) {
	if errors.Is(err, context.Canceled) {
		return // a stop, or a watch that was given up: neither says anything of the API server
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	old := s.State()
	next := old
	if next.Err = s.explain(op+" "+s.name, err); err == nil && old.Err == nil {
		return
	}
	s.set(old, next)
}

func (s *Stream) synced() {
	s.changing.Lock()
	defer s.changing.Unlock()
	old := s.State()
	if !old.Synced {
		s.set(old, StreamState{Synced: true, Err: old.Err})
	}
}

func (s *Stream) set(old, next StreamState) {
	s.state.Store(&next)
	if s.onChange != nil && (old.Synced != next.Synced || (old.Err == nil) != (next.Err == nil)) {
		s.onChange(next)
	}
}

// store hands on what a reflector delivers and keeps nothing of it.
type store[T any] struct {
	stream  *Stream
	replace func([]*T)
	observe func(*T)
	forget  func(*T)
}

func (s *store[T]) Add(object any) error    { return s.each(object, s.observe) }
func (s *store[T]) Update(object any) error { return s.each(object, s.observe) }
func (s *store[T]) Delete(object any) error { return s.each(object, s.forget) }
func (s *store[T]) Resync() error           { return nil }

func (s *store[T]) each(object any, tell func(*T)) error {
	if o, ok := object.(*T); ok {
		tell(o)
	}
	return nil
}

func (s *store[T]) Replace(objects []any, _ string) error {
	list := make([]*T, 0, len(objects))
	for _, object := range objects {
		if o, ok := object.(*T); ok {
			list = append(list, o)
		}
	}
	s.replace(list)
	s.stream.synced()
	return nil
}
