package pulls_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/internal/pulls"
)

// TestLearn: what the status of a kubelet up to 1.31 does not say, the pod's events may.
func TestLearn(t *testing.T) {
	s := newScript()
	s.tracker.Replace([]kube.Pod{app("ImagePullBackOff", bare)})
	s.wantTold(t, "began web/app unknown (found)")
	s.wantFailing(t, "web/app container unknown since -1m0s(estimated) tried ? next ?")
	s.wantDue(t, "web")
	s.at(time.Second).tracker.Answer(uid("web"), []kube.Event{
		failed(image, noHost, 2, -50*time.Second, -40*time.Second),
		failed(image, notFound, 2, -30*time.Second, -10*time.Second), // the latest is what holds
		podEvent("Failed", "Error: ErrImagePull", 9, -50*time.Second, 0),
		{Reason: "Failed", Message: `Failed to pull image "registry.example/shop/web:1": ` + noHost, FieldPath: "spec.containers{side}", Count: 5, First: start, Last: start},
		{Reason: "Failed", Message: `Failed to pull image "registry.example/shop/web:1": ` + noHost, FieldPath: "spec.initContainers{app}", Count: 5, First: start, Last: start},
		{Reason: "BackOff", Message: bare, FieldPath: "spec.containers{app}", Count: 7, First: start, Last: start},
	})
	s.wantTold(t, "renamed web/app not_found was unknown")
	s.wantFailing(t, "web/app container not_found since -50s(event) tried 4(event) next 1m10s(event)")
	if f := s.only(t); !strings.Contains(f.Message, notFound) {
		t.Errorf("message %q, want the text that the cause was read from", f.Message)
	}
	s.at(2 * time.Second).tracker.Observe(app("ImagePullBackOff", bare))
	s.wantTold(t)
	s.at(time.Hour)
	s.wantDue(t)

	// What this agent saw itself stands.
	s = following()
	s.tracker.Observe(app("ErrImagePull", notFound))
	s.at(time.Second).tracker.Answer(uid("web"), []kube.Event{failed(image, noHost, 7, -time.Minute, 0)})
	s.wantTold(t, "began web/app not_found")
	s.wantFailing(t, "web/app container not_found since 0s(observed) tried 1(observed) next 10s(observed)")

	// Events that say nothing leave the question open.
	s = following()
	s.tracker.Observe(app("ImagePullBackOff", bare))
	s.wantDue(t, "web")
	s.tracker.Answer(uid("web"), nil)
	s.wantTold(t, "began web/app unknown")
	s.at(30 * time.Second)
	s.wantDue(t, "web")
}

// TestLearnAcrossARetry: an attempt may be seen between the start of the agent and the answer, and its event may come after or with it.
func TestLearnAcrossARetry(t *testing.T) {
	s := newScript()
	s.tracker.Replace([]kube.Pod{app("ImagePullBackOff", bare)})
	s.at(900 * time.Millisecond).tracker.Observe(app("ErrImagePull", notFound))
	s.at(2 * time.Second)
	s.wantDue(t, "web")
	s.tracker.Answer(uid("web"), []kube.Event{failed(image, notFound, 3, -50*time.Second, -20*time.Second)})
	s.wantFailing(t, "web/app container not_found since -50s(event) tried 1(estimated) next 10.9s(estimated)")
	s.at(31 * time.Second)
	s.wantDue(t)
	s.at(32 * time.Second)
	s.wantDue(t, "web")
	s.tracker.Answer(uid("web"), []kube.Event{failed(image, notFound, 4, -50*time.Second, 0)})
	s.wantFailing(t, "web/app container not_found since -50s(event) tried 4(event) next 1m20s(event)")
	s.at(time.Hour)
	s.wantDue(t)
}

// TestLearnNever: a kubelet that is held up writes no more events of a pod. Then these are not asked for without end.
func TestLearnNever(t *testing.T) {
	s := newScript()
	s.tracker.Replace([]kube.Pod{app("ImagePullBackOff", bare)})
	s.at(time.Second).tracker.Observe(app("ErrImagePull", notFound))
	asked := 0
	for at := range 3 * 60 * 6 {
		s.at(time.Duration(at) * 10 * time.Second)
		for range s.tracker.Due() {
			asked++
			s.tracker.Answer(uid("web"), []kube.Event{failed(image, notFound, 3, -50*time.Second, -20*time.Second)})
		}
	}
	if asked != 3 {
		t.Errorf("asked for %d times in 3 hours", asked)
	}
}

// TestLearnVolume: the events of an image volume name no container.
func TestLearnVolume(t *testing.T) {
	const volume = "registry.example/models/big:7"
	c := waits("app", image, "ImagePullBackOff", `Back-off pulling image "`+volume+`"`)
	c.Volumes = []string{volume}
	s := following()
	s.tracker.Observe(pod("web", c))
	event := failed(volume, strings.ReplaceAll(notFound, image, volume), 3, -20*time.Second, 0)
	event.FieldPath = ""
	s.tracker.Answer(uid("web"), []kube.Event{event})
	s.wantTold(t, "began web/app unknown", "renamed web/app not_found was unknown")
	s.wantFailing(t, "web/app volume not_found since 0s(observed) tried 3(event) next 40s(event)")
}

// TestSecretMissing: an imagePullSecret that could not be read explains a refusal, and nothing else.
func TestSecretMissing(t *testing.T) {
	secret := []kube.Event{podEvent("FailedToRetrieveImagePullSecret", noSecret, 1, 0, 0)}
	s := following()
	s.tracker.Observe(app("ErrImagePull", refused))
	s.wantTold(t, "began web/app unauthorized")
	s.at(2*time.Second).tracker.Answer(uid("web"), secret)
	s.wantTold(t, "renamed web/app secret_missing was unauthorized")
	f := s.only(t)
	if !strings.Contains(f.Message, "regcred") || !strings.Contains(f.Message, refused) || f.Scope != "credentials" {
		t.Errorf("refined: %+v, want both texts", f)
	}
	// It keeps the refinement through the flips.
	s.at(3 * time.Second).tracker.Observe(app("ImagePullBackOff", bare+": ErrImagePull: "+refused))
	s.wantTold(t)
	s.at(12 * time.Second).tracker.Observe(app("ErrImagePull", refused))
	s.wantTold(t, "retried web/app secret_missing")
	if n := strings.Count(s.only(t).Message, "regcred"); n != 1 {
		t.Errorf("the secret is told %d times, want once", n)
	}
	// Another cause is another cause.
	s.at(40 * time.Second).tracker.Observe(app("ErrImagePull", noHost))
	s.wantTold(t, "renamed web/app dns was secret_missing", "retried web/app dns")

	// The kubelet says it of pulls that fail for other reasons too.
	s = following()
	s.tracker.Observe(app("ErrImagePull", notFound))
	s.tracker.Answer(uid("web"), secret)
	s.wantTold(t, "began web/app not_found")
	// A container of the pod that is refused later is refused for that secret.
	s.at(time.Minute).tracker.Observe(pod("web", waits("app", image, "ErrImagePull", notFound), waits("side", "registry.example/side:1", "ErrImagePull", refused)))
	s.wantTold(t, "began web/side secret_missing")
	s.tracker.Answer(uid("nobody"), secret)
	s.wantTold(t)
}

// TestSandbox: a sandbox image that cannot be pulled shows in the pod's events only.
func TestSandbox(t *testing.T) {
	event := podEvent("FailedCreatePodSandBox", pauseText, 3, 2*time.Second, 28*time.Second)
	s := following()
	s.tracker.Observe(unsandboxed("web"))
	s.wantDue(t)
	s.at(30*time.Second - 1)
	s.wantDue(t)
	s.at(30 * time.Second)
	s.wantDue(t, "web")
	s.wantDue(t)
	s.tracker.Answer(uid("web"), []kube.Event{podEvent("FailedCreatePodSandBox", cniText, 1, 0, time.Second), event})
	s.wantTold(t, "began web/ not_found")
	s.wantFailing(t, "web/ sandbox not_found since 2s(event) tried 3(event) next ?")
	f := s.only(t)
	if f.Scope != "node" || f.Image != "registry.example/pause:9" || f.Registry != "registry.example" || f.Reason != "FailedCreatePodSandBox" || f.Message != pauseText {
		t.Errorf("sandbox failure %+v", f)
	}

	// Asked again while it lasts.
	s.at(60 * time.Second)
	s.wantDue(t, "web")
	other := podEvent("FailedCreatePodSandBox", strings.ReplaceAll(pauseText, "registry.example/pause:9: not found", "dial tcp 10.0.0.1:443: connect: connection refused"), 5, 2*time.Second, 58*time.Second)
	s.tracker.Answer(uid("web"), []kube.Event{event, other})
	s.wantTold(t, "renamed web/ connection was not_found", "retried web/ connection")
	s.wantFailing(t, "web/ sandbox connection since 2s(event) tried 8(event) next ?")

	up := unsandboxed("web")
	up.HasSandbox = true
	s.at(70 * time.Second).tracker.Observe(up)
	s.wantTold(t, "ended web/ connection")
	s.at(time.Hour)
	s.wantDue(t)
}

func TestSandboxNoPullFailure(t *testing.T) {
	finished := unsandboxed("web")
	finished.Finished = true
	further := unsandboxed("web")
	further.Containers[0].Reason = "CreateContainerConfigError"
	notTaken := unsandboxed("web")
	notTaken.Started = time.Time{}
	for name, tc := range map[string]struct {
		pod   kube.Pod
		text  string
		asked bool
	}{
		"the network's plugin fails":      {unsandboxed("web"), cniText, true},
		"the runtime is down":             {unsandboxed("web"), `Failed to create pod sandbox: rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: connection refused"`, true},
		"the pod is over":                 {finished, pauseText, false},
		"its containers got further":      {further, pauseText, false},
		"the kubelet has not taken it on": {notTaken, pauseText, false},
		"it has its sandbox":              {pod("web", waits("app", image, "ContainerCreating", "")), pauseText, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := following()
			s.tracker.Observe(tc.pod)
			s.at(time.Minute)
			if tc.asked {
				s.wantDue(t, "web")
			} else {
				s.wantDue(t)
			}
			s.tracker.Answer(uid("web"), []kube.Event{podEvent("FailedCreatePodSandBox", tc.text, 3, 0, 50*time.Second)})
			s.wantTold(t)
			s.wantFailing(t)
		})
	}
}

// TestSandboxEnds: the ends of a sandbox failure that no sandbox brings.
func TestSandboxEnds(t *testing.T) {
	finished := unsandboxed("web")
	finished.Finished = true
	pause := podEvent("FailedCreatePodSandBox", pauseText, 3, 2*time.Second, 28*time.Second)
	for name, do := range map[string]func(*pulls.Tracker){
		"gone":     func(t *pulls.Tracker) { t.Forget(uid("web")) },
		"finished": func(t *pulls.Tracker) { t.Observe(finished) },
		"now it is the network": func(t *pulls.Tracker) {
			t.Answer(uid("web"), []kube.Event{pause, podEvent("FailedCreatePodSandBox", cniText, 1, time.Minute, time.Minute)})
		},
		"its events are no more": func(t *pulls.Tracker) { t.Answer(uid("web"), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			s := following()
			s.tracker.Observe(unsandboxed("web"))
			s.at(30*time.Second).tracker.Answer(uid("web"), []kube.Event{pause})
			s.wantTold(t, "began web/ not_found")
			s.at(2 * time.Minute).tracker.Observe(unsandboxed("web"))
			s.wantTold(t)
			do(s.tracker)
			s.wantTold(t, "ended web/ not_found")
			s.wantFailing(t)
		})
	}
}

// TestSandboxFound: what was stuck when the agent came is found, not fresh; CRI-O names the image in its own way.
func TestSandboxFound(t *testing.T) {
	s := newScript()
	p := unsandboxed("web")
	p.Started = start.Add(-time.Hour)
	s.tracker.Replace([]kube.Pod{p})
	s.wantDue(t, "web")
	s.tracker.Answer(uid("web"), []kube.Event{podEvent("FailedCreatePodSandBox",
		`Failed to create pod sandbox: rpc error: code = Unknown desc = creating pod sandbox with name "k8s_web_shop_1_0": initializing source docker://registry.example/pause:9: reading manifest 9 in registry.example/pause: manifest unknown`,
		40, -time.Hour, 0)})
	s.wantTold(t, "began web/ not_found (found)")
	if f := s.only(t); f.Image != "registry.example/pause:9" || f.Scope != "node" {
		t.Errorf("sandbox failure %+v", f)
	}
}

// TestAsks: when a pod's events are asked for, with nobody ever answering. Each time is told once.
func TestAsks(t *testing.T) {
	again := []time.Duration{30, 60, 120, 240, 300, 300, 300} // seconds: doubling up to 5 min
	for name, tc := range map[string]struct {
		begin  func(*script)
		first  time.Duration
		always bool // asked until there is an answer; else once, and again only where it went wrong
	}{
		"a bare back-off": {func(s *script) { s.tracker.Observe(app("ImagePullBackOff", bare)) }, 0, true},
		"a refusal, once the events had time to arrive": {func(s *script) { s.tracker.Observe(app("ErrImagePull", refused)) }, 2 * time.Second, false},
		"found failing": {func(s *script) {
			s.tracker = pulls.NewTracker(func() time.Time { return s.now }, nil)
			s.tracker.Replace([]kube.Pod{app("ErrImagePull", notFound)})
		}, 2 * time.Second, false},
		"no sandbox": {func(s *script) { s.tracker.Observe(unsandboxed("web")) }, 30 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := following()
			tc.begin(s)
			asked := func(at time.Duration) {
				t.Helper()
				if at > 0 {
					s.at(at - time.Millisecond)
					s.wantDue(t)
				}
				s.at(at)
				s.wantDue(t, "web")
				s.wantDue(t)
			}
			at := tc.first
			asked(at)
			for _, wait := range again {
				if !tc.always {
					s.at(at + time.Hour)
					s.wantDue(t)
					s.at(at)
				}
				s.tracker.Unanswered(uid("web"))
				at += wait * time.Second
				asked(at)
			}
		})
	}
}

// TestAsksNot: no question, no asking.
func TestAsksNot(t *testing.T) {
	for name, do := range map[string]func(*script){
		"a cause seen to begin":      func(s *script) { s.tracker.Observe(app("ErrImagePull", notFound)) },
		"a running pod":              func(s *script) { s.tracker.Observe(pod("web", is("app", image, kube.Running))) },
		"a pod waiting for a volume": func(s *script) { s.tracker.Observe(pod("web", waits("app", image, "ContainerCreating", ""))) },
		"it runs before the question": func(s *script) {
			s.tracker.Observe(app("ImagePullBackOff", bare))
			s.tracker.Observe(pod("web", is("app", image, kube.Running)))
		},
		"it is gone before the question": func(s *script) {
			s.tracker.Observe(app("ImagePullBackOff", bare))
			s.tracker.Forget(uid("web"))
			s.tracker.Unanswered(uid("web"))
		},
		"its sandbox comes in time": func(s *script) {
			s.tracker.Observe(unsandboxed("web"))
			p := unsandboxed("web")
			p.HasSandbox = true
			s.at(20 * time.Second).tracker.Observe(p)
		},
		"the next status answers": func(s *script) {
			s.tracker.Observe(app("ImagePullBackOff", bare))
			s.tracker.Observe(app("ErrImagePull", notFound))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := following()
			do(s)
			s.at(time.Hour)
			s.wantDue(t)
		})
	}
}

// TestAnswered: an answered question is not asked again where the answer cannot change.
func TestAnswered(t *testing.T) {
	s := following()
	s.tracker.Observe(app("ErrImagePull", refused))
	s.at(2 * time.Second)
	s.wantDue(t, "web")
	s.tracker.Answer(uid("web"), nil)
	for range 5 { // retries of the same kind are no new question
		s.now = s.now.Add(5 * time.Minute)
		s.tracker.Observe(app("ImagePullBackOff", bare))
		s.wantDue(t)
		s.tracker.Observe(app("ErrImagePull", refused))
		s.wantDue(t)
	}
}

// TestAnswerIsNoRetry: what was learned from events replaces the text of a failure, yet the status that the failure was read from is
// still the same when it comes again, by a relist or by a change of something else in the pod.
func TestAnswerIsNoRetry(t *testing.T) {
	for name, tc := range map[string]struct {
		text   string
		events []kube.Event
	}{
		"a missing secret": {refused, []kube.Event{podEvent("FailedToRetrieveImagePullSecret", noSecret, 1, 0, 0)}},
		"a cause":          {"", []kube.Event{failed(image, notFound, 1, 0, 0)}},
	} {
		t.Run(name, func(t *testing.T) {
			s := following()
			s.tracker.Observe(app("ErrImagePull", tc.text))
			s.at(2*time.Second).tracker.Answer(uid("web"), tc.events)
			learned := s.only(t)
			s.told = nil
			s.at(3 * time.Second).tracker.Observe(app("ErrImagePull", tc.text))
			s.at(4 * time.Second).tracker.Replace([]kube.Pod{app("ErrImagePull", tc.text)})
			s.wantTold(t)
			if f := s.only(t); !reflect.DeepEqual(f, learned) {
				t.Errorf("failure %s %q, want it as learned: %s %q", show(&f), f.Message, show(&learned), learned.Message)
			}
		})
	}
}
