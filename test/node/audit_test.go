package node

import (
	"slices"
	"testing"
	"time"
)

func TestParseAudit(t *testing.T) {
	const entry = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","stage":"ResponseComplete",` +
		`"requestURI":"/api/v1/namespaces/shop/pods/web/status","verb":"patch","user":{"username":"system:node:demo-node"},` +
		`"objectRef":{"resource":"pods","namespace":"shop","name":"web","subresource":"status"},"responseStatus":{"code":200},` +
		`"requestObject":{"status":{"containerStatuses":[{"name":"main","state":{"waiting":{"reason":"ErrImagePull"}}}]}},` +
		`"requestReceivedTimestamp":"2026-01-02T03:04:05.000001Z","stageTimestamp":"2026-01-02T03:04:05.002001Z"}`
	got, ok, err := parseAudit([]byte(entry))
	if err != nil || !ok {
		t.Fatalf("parseAudit: %v, %v", ok, err)
	}
	if got.Pod != "web" || got.Namespace != "shop" || got.Resource != "pods/status" || got.Code != 200 || got.Completed.Sub(got.Received) != 2*time.Millisecond {
		t.Errorf("parseAudit = %+v", got)
	}
	if want := []string{"main=ErrImagePull"}; !slices.Equal(got.Waiting, want) {
		t.Errorf("waiting = %q, want %q", got.Waiting, want)
	}
	if _, ok, err := parseAudit([]byte(`{"stage":"RequestReceived"}`)); ok || err != nil {
		t.Errorf("another stage: %v, %v; want it left out", ok, err)
	}
	for stage, want := range map[string]bool{"ResponseStarted": true, "ResponseComplete": false} {
		if _, ok, err := parseAudit([]byte(`{"verb":"watch","stage":"` + stage + `"}`)); ok != want || err != nil {
			t.Errorf("%s of a watch: %v, %v; want %v, so that each is told once, when it begins", stage, ok, err, want)
		}
	}
	if _, _, err := parseAudit([]byte(`{"stage":`)); err == nil {
		t.Error("half a line gives no error")
	}
}

func TestBreakagesAreTold(t *testing.T) {
	seen := map[string]bool{}
	for i, b := range Breakages {
		if seen[b.Name] || b.Name == "" || b.What == "" || len(b.Causes) == 0 || b.Pod == nil || b.Kind == "" {
			t.Errorf("breakage %d (%q) is there twice or not told in full", i, b.Name)
		}
		seen[b.Name] = true
	}
	if last := Breakages[len(Breakages)-1]; last.Kind != "sandbox" {
		t.Errorf("the last breakage is %s; after the sandbox image nothing else can be broken", last.Name)
	}
}

func TestChoosePorts(t *testing.T) {
	ports, err := choosePorts(0)
	if err != nil {
		t.Fatal(err)
	}
	more, err := choosePorts(0)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]string{}
	for _, of := range []map[string]int{ports, more} { // nodes that come up at the same time
		for _, name := range portNames {
			p := of[name]
			if other, ok := seen[p]; ok || p == 0 {
				t.Errorf("port of %s is %d, as of %q", name, p, other)
			}
			seen[p] = name
		}
	}
}
