package kubetest

import (
	"fmt"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// faults are what goes wrong at present.
type faults struct {
	unauthorized bool
	forbidden    map[string]bool // by resource, or "secrets NAMESPACE/NAME"
	status       int             // of every answer; 0 is none
	rubbish      []byte
	hang         chan struct{} // nil unless it hangs
	hold         chan struct{} // nil unless lists are held back
}

// SetUnauthorized makes the server refuse every token with 401.
func (s *Server) SetUnauthorized(on bool) {
	s.set(func(f *faults) { f.unauthorized = on })
}

// Forbid makes the server answer 403 for a resource, or for one secret: "secrets NAMESPACE/NAME". Watches that run go on, as they do in a real cluster; [Server.CloseWatches] ends them.
func (s *Server) Forbid(resource string) {
	s.set(func(f *faults) {
		if f.forbidden == nil {
			f.forbidden = make(map[string]bool)
		}
		f.forbidden[resource] = true
	})
}

// Allow takes Forbid back.
func (s *Server) Allow(resource string) {
	s.set(func(f *faults) { delete(f.forbidden, resource) })
}

// SetStatus makes the server answer every request with this HTTP status and a Status object, such as 429 or 500. 0 takes it back.
func (s *Server) SetStatus(code int) {
	s.set(func(f *faults) { f.status = code })
}

// SetRubbish makes the server answer every request with 200, a JSON content type, and these bytes. Nil takes it back.
func (s *Server) SetRubbish(answer []byte) {
	s.set(func(f *faults) { f.rubbish = answer })
}

// SetHang makes the server accept requests and not answer them. Taking it back answers all that have waited.
func (s *Server) SetHang(on bool) {
	s.set(func(f *faults) { f.hang = toggle(f.hang, on) })
}

// SetHold makes the server accept a request for a list and send nothing of it until it is taken back, as one that is slow or still fills its
// cache.
func (s *Server) SetHold(on bool) {
	s.set(func(f *faults) { f.hold = toggle(f.hold, on) })
}

// CloseWatches ends the watches that run, as a real API server does from time to time.
func (s *Server) CloseWatches() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.cut)
	s.cut = make(chan struct{})
}

// Expire forgets the past: watches from before now are answered 410 Gone, and those that run end.
func (s *Server) Expire() {
	s.mu.Lock()
	s.version++
	s.expired = s.version
	s.mu.Unlock()
	s.CloseWatches()
}

func (s *Server) set(change func(*faults)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.faults)
}

func toggle(c chan struct{}, on bool) chan struct{} {
	switch {
	case on && c == nil:
		return make(chan struct{})
	case !on && c != nil:
		close(c)
		return nil
	}
	return c
}

// refuse answers what a fault is for, and tells whether it did.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, asked Request) bool {
	s.mu.Lock()
	f := s.faults
	about := pathOf(asked.Path)
	forbidden := f.forbidden[asked.Resource()] || f.forbidden[asked.Resource()+" "+about.namespace+"/"+about.name]
	s.mu.Unlock()
	if f.hang != nil {
		select {
		case <-f.hang:
		case <-r.Context().Done():
			return true
		}
	}
	switch {
	case f.rubbish != nil:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(f.rubbish)
	case f.status != 0:
		fail(w, f.status, metav1.StatusReason(http.StatusText(f.status)), http.StatusText(f.status))
	case f.unauthorized || r.Header.Get("Authorization") != "Bearer "+Token:
		fail(w, http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized")
	case forbidden:
		p := pathOf(asked.Path)
		name := ""
		if p.name != "" {
			name = fmt.Sprintf(" %q", p.name)
		}
		where := "at the cluster scope"
		if p.namespace != "" {
			where = fmt.Sprintf("in the namespace %q", p.namespace)
		}
		fail(w, http.StatusForbidden, metav1.StatusReasonForbidden, fmt.Sprintf(
			`%s%s is forbidden: User "system:serviceaccount:pullwatch:pullwatch" cannot %s resource %q in API group "" %s`,
			p.resource, name, asked.Verb(), p.right(), where))
	default:
		return false
	}
	return true
}
