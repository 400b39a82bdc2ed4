package critest

import (
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Image is an image on the node. ID is the hexadecimal digest of its
// configuration; the flavor decides whether "sha256:" stands in front.
type Image struct {
	ID      string
	Tags    []string // such as 127.0.0.1:5000/pause:3.10
	Digests []string // such as 127.0.0.1:5000/pause@sha256:...
	Size    uint64   // bytes
	Pinned  bool

	OS, Architecture, Variant string
}

func (i Image) clone() Image {
	i.Tags, i.Digests = slices.Clone(i.Tags), slices.Clone(i.Digests)
	return i
}

// Pull is the answer to a pull: an image that is then on the node, or an
// error.
type Pull struct {
	Image *Image
	Code  codes.Code
	Text  string
	// Took is how long the answer takes. A caller who leaves earlier gets
	// what runtimes say then.
	Took time.Duration
}

type state struct {
	images     []Image
	containers []*runtimeapi.Container
	sandboxes  []*runtimeapi.PodSandbox
	conditions []*runtimeapi.RuntimeCondition
	info       map[string]string
	fs         *runtimeapi.ImageFsInfoResponse
	pulls      map[string]Pull
	secure     bool
	oversized  bool

	hang    chan struct{} // nil unless it hangs
	rubbish []byte
	delay   time.Duration
	scripts map[string]script
	calls   map[string]int
}

type script struct {
	answer proto.Message
	err    error
}

func newState(m manners) state {
	s := state{
		fs:      m.fs(),
		info:    m.info(),
		pulls:   map[string]Pull{},
		scripts: map[string]script{},
		calls:   map[string]int{},
	}
	for _, i := range m.images {
		s.images = append(s.images, i.clone())
	}
	for _, c := range m.conditions {
		s.conditions = append(s.conditions, &runtimeapi.RuntimeCondition{Type: c, Status: true})
	}
	return s
}

// SetImages replaces all images on the node.
func (r *Runtime) SetImages(images ...Image) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.images = nil
	for _, i := range images {
		r.state.images = append(r.state.images, i.clone())
	}
}

// Images gives the images on the node.
func (r *Runtime) Images() []Image {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Image
	for _, i := range r.state.images {
		all = append(all, i.clone())
	}
	return all
}

// SetContainers replaces all containers.
func (r *Runtime) SetContainers(containers ...*runtimeapi.Container) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.containers = containers
}

// SetSandboxes replaces all pod sandboxes.
func (r *Runtime) SetSandboxes(sandboxes ...*runtimeapi.PodSandbox) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.sandboxes = sandboxes
}

// SetCondition sets one condition of the status, such as "RuntimeReady".
func (r *Runtime) SetCondition(kind string, ok bool, reason, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &runtimeapi.RuntimeCondition{Type: kind, Status: ok, Reason: reason, Message: message}
	i := slices.IndexFunc(r.state.conditions, func(c *runtimeapi.RuntimeCondition) bool { return c.GetType() == kind })
	// A new slice and a new condition: an answer with the old may be under way.
	all := slices.Clone(r.state.conditions)
	if i < 0 {
		all = append(all, c)
	} else {
		all[i] = c
	}
	r.state.conditions = all
}

// SetInfo sets one key of the verbose status.
func (r *Runtime) SetInfo(key, value string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.info = maps.Clone(r.state.info)
	r.state.info[key] = value
}

// SetImageFs replaces the answer to ImageFsInfo.
func (r *Runtime) SetImageFs(fs *runtimeapi.ImageFsInfoResponse) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.fs = fs
}

// SetPull sets the answer to a pull of exactly this reference, before the
// flavor's own table is asked.
func (r *Runtime) SetPull(ref string, p Pull) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.pulls[ref] = p
}

// SetRegistrySecure tells whether the runtime insists on HTTPS for [Registry],
// which speaks HTTP. At first it does not.
func (r *Runtime) SetRegistrySecure(secure bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.secure = secure
}

// SetOversizedList makes ListImages answer more than 16 MiB. containerd then
// refuses to send it; CRI-O sends it and the client must refuse.
func (r *Runtime) SetOversizedList(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.oversized = on
}

// SetAnswer makes a CRI method, such as "Status", answer this and nothing
// else: a message of its response type, however odd, or an error.
func (r *Runtime) SetAnswer(method string, answer proto.Message, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.scripts[method] = script{answer, err}
}

// ClearAnswer takes back SetAnswer.
func (r *Runtime) ClearAnswer(method string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.state.scripts, method)
}

// Calls tells how often a CRI method was called. A call that hangs counts.
func (r *Runtime) Calls(method string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.calls[method]
}

// find looks an image up by id, tag or digest. The caller holds mu.
func (s *state) find(ref string) (Image, bool) {
	id := strings.TrimPrefix(ref, "sha256:")
	for _, i := range s.images {
		if i.ID == id || slices.Contains(i.Tags, ref) || slices.Contains(i.Digests, ref) {
			return i.clone(), true
		}
	}
	return Image{}, false
}

// add puts an image on the node: new names for one that is there, or a new
// one. The caller holds mu.
func (s *state) add(image Image) {
	for n := range s.images {
		have := &s.images[n]
		if have.ID != image.ID {
			continue
		}
		have.Tags = union(have.Tags, image.Tags)
		have.Digests = union(have.Digests, image.Digests)
		return
	}
	s.images = append(s.images, image.clone())
}

func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(a, s)
		}
	}
	return a
}
