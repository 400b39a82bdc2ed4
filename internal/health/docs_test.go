package health

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestDocs holds docs/conditions.md to the code: each condition with its holds, and each reason.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/conditions.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	words := func(d time.Duration) string {
		if d%time.Minute == 0 {
			return fmt.Sprintf("%d min", d/time.Minute)
		}
		return fmt.Sprintf("%d s", d/time.Second)
	}
	for _, kind := range Types {
		if row := fmt.Sprintf("| `%s` | %s | %s |", kind, words(holds[kind].bad), words(holds[kind].fine)); !strings.Contains(page, row) {
			t.Errorf("the page has no row %s", row)
		}
	}
	before := -1
	for _, fault := range faults {
		at := strings.Index(page, "| `"+fault.reason+"` |")
		if at <= before {
			t.Errorf("the page has no row of %s after the one before", fault.reason)
		}
		before = at
	}
	for _, reason := range []string{
		"ContainerRuntimeAnswers", "ContainerRuntimeNotReady", "ContainerRuntimeDoesNotAnswer", "ImagesCanBePulled", "RegistriesReachable", "NodeNotAtFault",
		"EvictionThresholdPassed", "EvictionNear", "ImageGCFails", "ImageGCWillFail", "DiskHasRoom",
	} {
		if !strings.Contains(page, "`"+reason+"`") {
			t.Errorf("the page does not tell of %s", reason)
		}
	}
}
