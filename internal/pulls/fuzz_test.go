package pulls_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/internal/kube"
	"github.com/pullwatch/pullwatch/internal/pulls"
)

// FuzzTracker: whatever the order of what is seen, every failure that fails was begun and not ended, and nothing is begun twice.
func FuzzTracker(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, "ErrImagePull", notFound)
	f.Add([]byte{0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe}, "ImagePullBackOff", bare)
	f.Add([]byte{1, 8, 2, 8, 17, 8, 3, 9, 1, 7, 1}, noHost, refused)
	f.Fuzz(func(t *testing.T, ops []byte, reason, message string) {
		now := start
		failing := make(map[string]bool)
		tracker := pulls.NewTracker(func() time.Time { return now }, func(changes []pulls.Change) {
			for i := range changes {
				c := &changes[i]
				key := fmt.Sprint(c.PodUID, c.Container, c.Kind)
				if was := failing[key]; was == (c.What == pulls.Began) {
					t.Fatalf("%s, and it failed before: %v", tell(c), was)
				}
				if failing[key] = true; c.What == pulls.Ended {
					delete(failing, key)
				}
			}
		})
		for _, op := range ops[:min(len(ops), 200)] {
			now = now.Add(time.Duration(op) * time.Second)
			p := app(reason, message)
			p.HasSandbox, p.Finished = op&16 == 0, op&0xe0 == 0xe0
			c := &p.Containers[0]
			if op&32 != 0 {
				c.Volumes = []string{message, image}
			}
			switch op & 15 {
			case 0:
				c.State, c.Reason = kube.Running, ""
			case 1:
				c.Reason, c.Message = "ErrImagePull", message
			case 2:
				c.Reason, c.Message = "ImagePullBackOff", bare
			case 3:
				c.Reason, c.Message = "ContainerCreating", ""
			case 4:
				c.Image = message
			case 5:
				c.State = kube.Unreported
			case 6:
				tracker.Forget(p.UID)
				continue
			case 7:
				tracker.Replace(nil)
				continue
			case 8:
				tracker.Answer(p.UID, []kube.Event{failed(image, message, int(op), 0, time.Minute), podEvent(reason, message, 1, 0, 0),
					podEvent("FailedToRetrieveImagePullSecret", message, 1, 0, 0), podEvent("FailedCreatePodSandBox", message, -1, 0, 0)})
				continue
			case 9:
				tracker.Due()
				tracker.Unanswered(p.UID)
				continue
			case 10:
				p.Containers = append(p.Containers, waits("other", image, reason, message))
			case 11:
				tracker.Replace([]kube.Pod{p, pod("other", waits("app", image, message, reason))})
				continue
			}
			tracker.Observe(p)
		}
		if got := tracker.Failures(); len(got) != len(failing) {
			t.Fatalf("%d failures, told of %d: %v", len(got), len(failing), failing)
		}
	})
}
