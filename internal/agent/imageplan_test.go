package agent

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/pullwatch/pullwatch/internal/keyring"
	"github.com/pullwatch/pullwatch/pkg/probe"
)

// run goes through time as the agent does and notes what is asked when.
func (p *imagePlan) run(from, to time.Time) (asked []string, at []time.Time) {
	for now := from; now.Before(to); now = now.Add(imagesTick) {
		if name, deep, ok := p.due(now); ok {
			if deep {
				name += " deep"
			}
			asked, at = append(asked, name), append(at, now)
		}
	}
	return asked, at
}

func images(registry string, n int) map[string]string {
	all := make(map[string]string)
	for i := range n {
		all[fmt.Sprintf("%s/app-%02d:1", registry, i)] = registry
	}
	return all
}

// TestImagePlanInUse: a registry is asked for one image an hour, however many are in use, and for each in turn.
func TestImagePlanInUse(t *testing.T) {
	p := newImagePlan(time.Hour)
	p.want(images("a.example", 30), nil, scheduleStart)
	asked, _ := p.run(scheduleStart, scheduleStart.Add(36*time.Hour))
	seen := make(map[string]int)
	for _, name := range asked {
		seen[name]++
	}
	if len(asked) < 30 || len(asked) > 36 || len(seen) != 30 {
		t.Errorf("%d questions for %d images in 36 hours", len(asked), len(seen))
	}
	if len(p.images) != 30 || len(p.turns) != 1 {
		t.Errorf("%d images, %d registries", len(p.images), len(p.turns))
	}
	p.want(nil, nil, scheduleStart)
	if len(p.images)+len(p.turns) != 0 {
		t.Error("what is gone is remembered")
	}
}

// TestImagePlanFailing: one that fails is asked for once within failedWithin, and again after an hour; many of one registry not all at once.
func TestImagePlanFailing(t *testing.T) {
	p := newImagePlan(time.Hour)
	failing := images("a.example", 10)
	p.want(failing, failing, scheduleStart)
	asked, at := p.run(scheduleStart, scheduleStart.Add(15*time.Minute))
	if len(asked) != 10 {
		t.Errorf("%d questions: %v", len(asked), asked)
	}
	for i := 1; i < len(at); i++ {
		if gap := at[i].Sub(at[i-1]); gap < leastBetween {
			t.Errorf("asked after %s", gap)
		}
	}
	// What works again is one of those in use; what then fails anew is asked for anew.
	p.want(failing, nil, scheduleStart.Add(16*time.Minute))
	p.want(failing, images("a.example", 1), scheduleStart.Add(17*time.Minute))
	if asked, _ := p.run(scheduleStart.Add(17*time.Minute), scheduleStart.Add(28*time.Minute)); len(asked) == 0 || asked[0] != "a.example/app-00:1 deep" && asked[len(asked)-1] != "a.example/app-00:1 deep" {
		t.Errorf("%v", asked)
	}
}

func TestImagePlanLeave(t *testing.T) {
	p := newImagePlan(time.Hour)
	failing := images("a.example", 3)
	p.want(images("b.example", 1), failing, scheduleStart)
	until := scheduleStart.Add(5 * time.Hour)
	p.leave("a.example", until)
	asked, at := p.run(scheduleStart, scheduleStart.Add(6*time.Hour))
	others := 0
	for i, name := range asked {
		if name == "b.example/app-00:1" {
			others++
		} else if at[i].Before(until) {
			t.Errorf("%s asked %s too soon", name, until.Sub(at[i]))
		}
	}
	if others < 4 {
		t.Errorf("the other registry was asked %d times in 6 hours", others)
	}
	// Nor is one asked for that begins to fail in that time, or is hurried.
	p = newImagePlan(time.Hour)
	p.want(nil, images("a.example", 1), scheduleStart)
	p.leave("a.example", until)
	p.want(nil, images("a.example", 3), scheduleStart)
	p.sooner("a.example/app-00:1", scheduleStart)
	if asked, _ := p.run(scheduleStart, until); len(asked) > 0 {
		t.Errorf("asked too soon: %v", asked)
	}
	if asked, _ := p.run(until, until.Add(time.Hour)); len(asked) < 3 {
		t.Errorf("not asked afterwards: %v", asked)
	}
}

// TestImagePlanSooner: one that was asked for is asked for again within failedWithin and not at the next hour, once; what does not fail, is not.
func TestImagePlanSooner(t *testing.T) {
	p := newImagePlan(time.Hour)
	failing := images("a.example", 1)
	p.want(images("b.example", 1), failing, scheduleStart)
	asked := scheduleStart.Add(failedWithin + time.Minute)
	p.run(scheduleStart, asked)
	p.images["a.example/app-00:1"].next = asked.Add(50 * time.Minute)
	for now := asked; now.Before(asked.Add(failedWithin)); now = now.Add(imagesTick) {
		before := p.images["a.example/app-00:1"].next
		p.sooner("a.example/app-00:1", now)
		p.sooner("b.example/app-00:1", now)
		p.sooner("a.example/unknown:1", now)
		if after := p.images["a.example/app-00:1"].next; after.After(asked.Add(failedWithin)) || now != asked && after != before {
			t.Fatalf("due at %s after the first, was %s", after.Sub(asked), before.Sub(asked))
		}
	}
	if !p.images["b.example/app-00:1"].next.IsZero() || len(p.images) != 2 {
		t.Errorf("%+v", p.images)
	}
}

// TestImagePlanBounded: tenants' names do not grow it.
func TestImagePlanBounded(t *testing.T) {
	p := newImagePlan(time.Hour)
	p.want(nil, images("a.example", 2000), scheduleStart)
	if len(p.images) != mostImages {
		t.Errorf("%d images", len(p.images))
	}
}

// TestImagePlanFleet is what the images in use add to docs/probing.md's sum. A registry that wants a token gets two requests for each question.
func TestImagePlanFleet(t *testing.T) {
	const agents, hours = 20, 24
	var questions int
	for range agents {
		p := newImagePlan(time.Hour)
		p.want(images("a.example", 30), nil, scheduleStart)
		asked, _ := p.run(scheduleStart, scheduleStart.Add(hours*time.Hour))
		questions += len(asked)
	}
	perSecond := float64(questions) / agents * 5000 / (hours * time.Hour).Seconds()
	t.Logf("for 5,000 agents: %.1f questions a second, %.1f requests where a token is wanted", perSecond, 2*perSecond)
	if 2*perSecond > 2.8 {
		t.Error("together with the probes of the registry that is more than 20")
	}
}

// TestImageSecrets: a secret of which nothing is known yet hurries its image, and one that no pod names any more is told no longer.
func TestImageSecrets(t *testing.T) {
	a := New(Config{Log: slog.New(slog.DiscardHandler)})
	failing := images("a.example", 1)
	const image = "a.example/app-00:1"
	a.images.states = map[string]*ImageState{image: {Image: &probe.Image{Image: image}, Failing: true, Logins: []keyring.Outcome{{Secret: "shop/a"}, {Secret: "shop/b"}}}}
	plan := newImagePlan(time.Hour)
	plan.want(nil, failing, scheduleStart)
	later := scheduleStart.Add(time.Hour)
	for secret, hurries := range map[string]bool{"shop/a": false, "pay/a": true} {
		plan.images[image].next = later
		a.images.hurryImages(plan, map[string][]string{image: {"shop/b", secret}}, scheduleStart)
		if got := plan.images[image].next != later; got != hurries {
			t.Errorf("%s hurries it: %v", secret, got)
		}
	}
	a.publishImages(nil, failing, map[string][]string{image: {"shop/b"}})
	if all := a.snapshot.imageProbes.Load().Value; len(all) != 1 || len(all[0].Logins) != 1 || all[0].Logins[0].Secret != "shop/b" {
		t.Errorf("%+v", all)
	}
}
